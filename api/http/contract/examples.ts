/** A JSON schema as the OpenAPI document holds it. */
export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  example?: unknown;
  examples?: unknown[];
  default?: unknown;
  const?: unknown;
  enum?: unknown[];
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  required?: string[];
  items?: Schema;
  allOf?: Schema[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  [keyword: string]: unknown;
}

export type Schemas = Record<string, Schema>;

/** The schema that a reference of the document names, or the schema itself. */
export function resolveSchema(schema: Schema, schemas: Schemas): Schema {
  const name = schema.$ref?.split('/').at(-1);
  return name === undefined ? schema : resolveSchema(schemas[name] ?? {}, schemas);
}

/** An example of a whole, put together from those of its parts. Undefined where nothing can be made up. */
export function exampleOf(schema: Schema, schemas: Schemas): unknown {
  const known = knownExample(schema);
  if (known !== undefined) return known;
  if (schema.$ref !== undefined) return exampleOf(resolveSchema(schema, schemas), schemas);
  if (schema.allOf) return mergeExamples(schema.allOf, schemas);
  const [choice] = schema.oneOf ?? schema.anyOf ?? [];
  if (choice) return exampleOf(choice, schemas);
  if (schema.properties) return exampleOfProperties(schema.properties, schemas);
  if (schema.items) {
    const item = exampleOf(schema.items, schemas);
    return item === undefined ? undefined : [item];
  }
  return exampleOfType(schema);
}

function exampleOfType({ type, format, minimum, pattern }: Schema): unknown {
  const [name] = [type].flat().filter((one) => one !== 'null');
  if (name === 'boolean') return true;
  if (name === 'object') return {};
  if (name === 'integer' || name === 'number') return typeof minimum === 'number' ? minimum : 1;
  if (name !== 'string') return undefined;
  if (format === 'uuid') return '0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44';
  if (format === 'date-time') return '2026-01-31T12:00:00.000Z';
  return pattern === undefined && format === undefined ? 'text' : undefined;
}

function knownExample({ example, examples, const: constant, default: fallback, enum: values }: Schema) {
  return example ?? examples?.[0] ?? constant ?? fallback ?? values?.[0];
}

function exampleOfProperties(properties: Record<string, Schema>, schemas: Schemas): Record<string, unknown> {
  const members = Object.entries(properties).map(
    ([name, property]) => [name, exampleOf(property, schemas)] as const,
  );
  return Object.fromEntries(members.filter(([, value]) => value !== undefined));
}

function mergeExamples(parts: readonly Schema[], schemas: Schemas): unknown {
  const examples = parts.map((part) => exampleOf(part, schemas)).filter((example) => example !== undefined);
  const areObjects = examples.every((example) => typeof example === 'object' && !Array.isArray(example));
  return areObjects && examples.length > 1 ? Object.assign({}, ...examples) : examples.at(-1);
}
