import type { Schema, Schemas } from '../contract/examples.ts';
import { html, inline, type Markup } from './markup.ts';

/** What a value looks like, in a few words. Components are links to their own section. */
export function renderType(schema: Schema): Markup {
  const name = schema.$ref?.split('/').at(-1);
  if (name !== undefined) return html`<a href="#schema-${name}">${name}</a>`;
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices)
    return html`${choices.map((choice, index) => html`${index > 0 ? ' or ' : ''}${renderType(choice)}`)}`;
  if (schema.allOf) return renderType(schema.allOf[0] ?? {});
  if (schema.items) return html`list of ${renderType(schema.items)}`;
  if (isMap(schema)) return html`map of ${renderType(schema.additionalProperties as Schema)}`;
  const type = [schema.type]
    .flat()
    .filter((one) => one !== undefined)
    .join(' or ');
  return html`${type || 'anything'}${schema.format === undefined ? '' : ` (${schema.format})`}`;
}

/** The members of an object, inner objects under their own. Undefined: it has none. */
export function renderMembers(schema: Schema): Markup | undefined {
  const { properties, required = [] } = schema;
  if (!properties) return undefined;
  const rows = Object.entries(properties).map(([name, member]) => {
    const mark = required.includes(name) ? html`<span class="required">required</span>` : undefined;
    return html`<dt><code>${name}</code> <span class="type">${renderType(member)}</span> ${mark}</dt>
<dd>${renderFacts(member)}${renderMembers(innerObject(member))}</dd>`;
  });
  return html`<dl class="members">${rows}</dl>`;
}

/** Description, choices, bounds, default and example of a value. */
export function renderFacts(schema: Schema): Markup {
  const whole = { ...schema.allOf?.at(-1), ...schema };
  const description = whole.description;
  const facts = [
    whole.enum && html`one of ${join(whole.enum)}`,
    whole.const === undefined ? undefined : html`always ${code(whole.const)}`,
    renderBounds(whole),
    whole.default === undefined ? undefined : html`default ${code(whole.default)}`,
    whole.example === undefined || whole.enum ? undefined : html`for example ${code(whole.example)}`,
  ].filter((fact) => fact !== undefined);
  const text = typeof description === 'string' ? html`<p>${inline(description)}</p>` : undefined;
  return html`${text}${facts.length > 0 ? html`<p class="facts">${join(facts, '; ')}</p>` : undefined}`;
}

/** Every component that is not only an error. */
export function renderComponents(schemas: Schemas): Markup {
  const sections = Object.entries(schemas).map(
    ([name, schema]) => html`<section class="schema" id="schema-${name}">
<h3><a href="#schema-${name}">${name}</a></h3>
${renderFacts({ ...schema, example: undefined })}${renderMembers(schema)}
</section>`,
  );
  return html`<section id="schemas"><h2>Schemas</h2>${sections}</section>`;
}

const isMap = ({ additionalProperties, properties }: Schema) =>
  properties === undefined && typeof additionalProperties === 'object';

function innerObject(schema: Schema): Schema {
  return schema.properties ? schema : (schema.items ?? {});
}

function renderBounds(schema: Schema): Markup | undefined {
  const { minimum, maximum, minLength, maxLength, maxItems, maxProperties, pattern } = schema;
  const bounds = [
    minimum === undefined ? undefined : `at least ${minimum}`,
    maximum === undefined ? undefined : `at most ${maximum}`,
    minLength === undefined || minLength === 0 ? undefined : `at least ${minLength} characters`,
    maxLength === undefined ? undefined : `at most ${maxLength} characters`,
    maxItems === undefined ? undefined : `at most ${maxItems} items`,
    maxProperties === undefined ? undefined : `at most ${maxProperties} members`,
  ].filter((bound) => bound !== undefined);
  const shape = typeof pattern === 'string' ? html`matches ${code(pattern, false)}` : undefined;
  if (bounds.length === 0) return shape;
  return html`${bounds.join(', ')}${shape ? html`; ${shape}` : undefined}`;
}

function code(value: unknown, asJson = true): Markup {
  return html`<code>${asJson ? JSON.stringify(value) : String(value)}</code>`;
}

function join(parts: readonly unknown[], separator = ', '): Markup[] {
  const isMarkup = (part: unknown): part is Markup =>
    typeof part === 'object' && part !== null && 'markup' in part;
  return parts.map((part, index) => html`${index > 0 ? separator : ''}${isMarkup(part) ? part : code(part)}`);
}
