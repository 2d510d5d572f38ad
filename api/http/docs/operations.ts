import type { Document, DocumentOperation, DocumentParameter } from '../contract/document.ts';
import { listOperations } from '../contract/document.ts';
import { resolveSchema, type Schemas } from '../contract/examples.ts';
import { renderPage } from './layout.ts';
import { html, inline, type Markup, prose } from './markup.ts';
import { renderComponents, renderFacts, renderMembers, renderType } from './schemas.ts';

type Placed = ReturnType<typeof listOperations>[number];
type Bodies = DocumentOperation['responses'][string]['content'];

/** The reference of every operation. */
export function renderOperations(document: Document): string {
  const operations = listOperations(document);
  const groups = document.tags.map((tag) => ({
    ...tag,
    id: `tag-${tag.name.toLowerCase().replaceAll(' ', '-')}`,
    members: operations.filter(({ operation }) => operation.tags.includes(tag.name)),
  }));
  const nav = groups.map(
    ({ name, id, members }) => html`<h2><a href="#${id}">${name}</a></h2>
<ul>${members.map(renderLink)}</ul>`,
  );
  const { schemas } = document.components;
  const sections = groups.map(
    ({ name, id, description, members }) => html`<section id="${id}">
<h2>${name}</h2>
${prose(description)}
${members.map((member) => renderOperation(member, schemas))}
</section>`,
  );
  return renderPage({
    title: `${document.info.title} API ${document.info.version}`,
    nav: html`${nav}<h2><a href="#schemas">Schemas</a></h2>`,
    main: html`<header><h1>${document.info.title} <small>${document.info.version}</small></h1>
${prose(document.info.description)}</header>
${sections}
${renderComponents(schemas)}`,
  });
}

function renderLink({ method, operation }: Placed): Markup {
  return html`<li><a href="#${operation.operationId}">${badge(method)}<span>${operation.summary}</span></a></li>`;
}

function renderOperation(placed: Placed, schemas: Schemas): Markup {
  const { method, path, operation } = placed;
  const { operationId, summary, description, parameters = [], requestBody, responses } = operation;
  const policy = operation['x-policy'];
  return html`<article id="${operationId}">
<h3><a href="#${operationId}">${summary}</a></h3>
<p class="endpoint">${badge(method)} <code>${path}</code> <span class="policy">${policy}</span></p>
${description === undefined ? undefined : prose(description)}
<pre><code>${renderCall(placed)}</code></pre>
${parameters.length > 0 ? html`<h4>Parameters</h4><dl class="members">${parameters.map(renderParameter)}</dl>` : undefined}
${requestBody ? html`<h4>Request</h4>${renderBodies(requestBody.content, schemas, { withExample: false })}` : undefined}
<h4>Answers</h4>
${Object.entries(responses).map(([status, response]) => renderResponse(status, response, schemas))}
</article>`;
}

function renderParameter({ name, in: place, required, description, schema }: DocumentParameter): Markup {
  const mark = required ? html`<span class="required">required</span>` : undefined;
  return html`<dt><code>${name}</code> <span class="type">${renderType(schema)} in ${place}</span> ${mark}</dt>
<dd>${renderFacts({ ...schema, ...(description === undefined ? {} : { description }) })}</dd>`;
}

function renderResponse(
  status: string,
  { description, content }: DocumentOperation['responses'][string],
  schemas: Schemas,
): Markup {
  if (status >= '400') {
    const lines = description.split('\n\n').map((line) => html`<li>${linkCode(line)}</li>`);
    return html`<details class="answer refused"><summary><b>${status}</b></summary><ul>${lines}</ul></details>`;
  }
  return html`<details class="answer"><summary><b>${status}</b> ${inline(description)}</summary>
${renderBodies(content, schemas)}</details>`;
}

/** `late`: ... with the code as a link to what to do. */
function linkCode(line: string): Markup {
  const [, code, rest] = /^`([a-z_]+)`(: .*)$/s.exec(line) ?? [];
  if (code === undefined) return html`${inline(line)}`;
  return html`<a href="/docs/problems#${code}"><code>${code}</code></a>${rest}`;
}

/** The call of curl shows the example of a request already. */
function renderBodies(content: Bodies, schemas: Schemas, { withExample = true } = {}): Markup[] {
  return Object.entries(content ?? {}).map(([media, { schema, example }]) => {
    const shown = withExample ? (example ?? schema.example) : undefined;
    const text = typeof shown === 'string' ? shown : JSON.stringify(shown, null, 2);
    return html`<p class="media"><code>${media}</code> <span class="type">${renderType(schema)}</span></p>
${shown === undefined ? undefined : html`<pre><code>${text}</code></pre>`}
${renderMembers(resolveSchema(schema, schemas))}`;
  });
}

/** The operation as a call of curl. */
function renderCall({ method, path, operation }: Placed): string {
  const url = path.replaceAll(/\{(\w+)\}/g, (_all, name: string) => {
    const parameter = operation.parameters?.find((one) => one.name === name);
    return String(parameter?.schema.example ?? name);
  });
  const policy = operation['x-policy'];
  const credentials = policy === 'device' || policy === 'member' ? '$TOKEN' : '$KEY';
  const [media, body] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  const options = [
    method === 'get' ? undefined : method === 'head' ? '-I' : `-X ${method.toUpperCase()}`,
    policy === 'public' ? undefined : `-H "Authorization: Bearer ${credentials}"`,
    media === undefined ? undefined : `-H 'Content-Type: ${media}'`,
    renderData(media, body?.example),
  ].filter((option) => option !== undefined);
  return [`curl "$URL${url}"`, ...options].join(' \\\n  ');
}

function renderData(media: string | undefined, example: unknown): string | undefined {
  if (media === undefined) return undefined;
  if (media === 'application/json') return `-d '${quote(JSON.stringify(example, null, 2))}'`;
  if (media.endsWith('urlencoded')) return `-d '${new URLSearchParams(example as Record<string, string>)}'`;
  return '--data-binary @file.safetensors';
}

/** Inside of single quotes, indented to its option. */
function quote(text: string): string {
  return text.replaceAll("'", "'\\''").replaceAll('\n', '\n  ');
}

function badge(method: string): Markup {
  return html`<span class="method ${method}">${method.toUpperCase()}</span>`;
}
