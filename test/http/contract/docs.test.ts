import { describe, expect, it } from 'vitest';
import { problems } from '../../../api/domain/errors.ts';
import { buildDocument, listOperations } from '../../../api/http/contract/document.ts';
import { html, inline } from '../../../api/http/docs/markup.ts';
import { createDocumentApp } from '../../../scripts/document-app.ts';

const app = createDocumentApp();
const pages = ['/docs', '/docs/problems', '/docs/style.css'];
const read = async (path: string) => (await app.request(path)).text();
const idsOf = (text: string) => [...text.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id!);

describe('the reference', () => {
  it.each(pages)('%s forbids everything but its own style sheet', async (path) => {
    const response = await app.request(path);
    expect(response.status).toBe(200);
    const policy = response.headers.get('content-security-policy')!.split('; ');
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("style-src 'self'");
    expect(policy.join()).not.toMatch(/unsafe|script-src|https?:/);
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  });

  it.each(pages)('%s has nothing that this policy would block', async (path) => {
    const text = await read(path);
    expect(text).not.toMatch(/<script|<style|<iframe| style=| on[a-z]+="|url\(|@import|src=/i);
  });

  it('shows every operation, and links to nothing that is not there', async () => {
    const text = await read('/docs');
    const ids = idsOf(text);
    const operations = listOperations(buildDocument(createDocumentApp()));
    expect(ids).toEqual(expect.arrayContaining(operations.map(({ operation }) => operation.operationId)));
    expect(new Set(ids).size).toBe(ids.length);
    const targets = [...text.matchAll(/href="#([^"]+)"/g)].map(([, id]) => id!);
    expect(targets.filter((id) => !ids.includes(id))).toEqual([]);
    const codes = [...text.matchAll(/href="\/docs\/problems#([^"]+)"/g)].map(([, code]) => code!);
    expect(codes.length).toBeGreaterThan(100);
    expect(codes.filter((code) => !(code in problems))).toEqual([]);
  });

  it('has an anchor for every code, with what to do', async () => {
    const text = await read('/docs/problems');
    expect(idsOf(text)).toEqual(Object.keys(problems));
    for (const [, , help] of Object.values(problems)) expect(text).toContain(html`${help}`.markup);
  });
});

describe('markup', () => {
  it('escapes what is put in', () => {
    const text = `<script>"'&`;
    expect(html`<p title="${text}">${[text, 1, undefined]}</p>`.markup).toBe(
      '<p title="&lt;script&gt;&quot;&#39;&amp;">&lt;script&gt;&quot;&#39;&amp;1</p>',
    );
  });

  it.each([
    ['`a < b` and more', '<code>a &lt; b</code> and more'],
    ['see [this](/docs)', 'see <a href="/docs">this</a>'],
    ['[no](javascript:alert(1))', '[no](javascript:alert(1))'],
    ['an open ` and [', 'an open ` and ['],
  ])('reads %s', (text, expected) => {
    expect(html`${inline(text)}`.markup).toBe(expected);
  });
});
