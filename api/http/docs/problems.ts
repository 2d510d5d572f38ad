import { problems } from '../../domain/errors.ts';
import { renderPage } from './layout.ts';
import { html, prose } from './markup.ts';

const introduction =
  'Errors are problem documents (RFC 9457), `application/problem+json`. Switch on `code`: codes never change their ' +
  'meaning. `requestId` names the request in the log of the server. `POST /v1/token` alone answers as RFC 6749 says, with ' +
  'the same `code` added.';

/** The reference of every code: `#late` is where the `type` of a problem document points to. */
export function renderProblems(): string {
  const entries = Object.entries(problems);
  const byStatus = [...Map.groupBy(entries, ([, [status]]) => status)].sort(([a], [b]) => a - b);
  const nav = byStatus.map(
    ([status, members]) => html`<h2>${status}</h2>
<ul>${members.map(([code]) => html`<li><a href="#${code}"><code>${code}</code></a></li>`)}</ul>`,
  );
  const sections = entries.map(
    ([code, [status, title, help]]) => html`<article class="problem" id="${code}">
<h3><a href="#${code}"><code>${code}</code></a> <span class="status">${status}</span></h3>
<p><b>${title}.</b></p>
<p>${help}</p>
</article>`,
  );
  return renderPage({
    title: 'FedEdge problems',
    nav: html`${nav}`,
    main: html`<header><h1>Problems</h1>${prose(introduction)}</header>${sections}`,
  });
}
