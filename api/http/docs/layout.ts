import { html, type Markup } from './markup.ts';

/** A whole page: its own style sheet, no script. */
export function renderPage(page: { title: string; nav: Markup; main: Markup }): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${page.title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/style.css">
</head>
<body>
<nav aria-label="Contents">
<a class="brand" href="/docs">FedEdge</a>
<ul class="pages">
<li><a href="/docs">Operations</a></li>
<li><a href="/docs/problems">Problems</a></li>
<li><a href="/openapi.json">OpenAPI document</a></li>
</ul>
${page.nav}
</nav>
<main>
${page.main}
</main>
</body>
</html>
`.markup;
}
