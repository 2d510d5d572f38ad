/** Text that is markup already: everything else is escaped when it is put into a template. */
export interface Markup {
  readonly markup: string;
}

type Part = string | number | Markup | readonly Part[] | undefined;

/** A template whose values are escaped. */
export function html(strings: TemplateStringsArray, ...parts: Part[]): Markup {
  return { markup: String.raw({ raw: strings }, ...parts.map(render)) };
}

function render(part: Part): string {
  if (part === undefined) return '';
  if (typeof part === 'string' || typeof part === 'number') return escapeText(String(part));
  return 'markup' in part ? part.markup : part.map(render).join('');
}

const escapes: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
const escapeText = (text: string) => text.replaceAll(/[&<>"']/g, (character) => escapes[character]!);

/** The little of Markdown that descriptions use: paragraphs, `code` and [links](/to). */
export function prose(text: string): Markup[] {
  return text.split(/\n\n+/).map((paragraph) => html`<p>${inline(paragraph)}</p>`);
}

export function inline(text: string): Markup[] {
  const tokens = text.match(/`[^`]+`|\[[^\]]+\]\(\/[^)\s]*\)|[^`[]+|[`[]/g) ?? [];
  return tokens.map((token) => {
    const link = /^\[([^\]]+)\]\((.+)\)$/.exec(token);
    if (link) return html`<a href="${link[2]}">${link[1]}</a>`;
    return token.length > 2 && token.startsWith('`')
      ? html`<code>${token.slice(1, -1)}</code>`
      : html`${token}`;
  });
}
