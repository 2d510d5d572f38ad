/** A JSON schema, as OpenAPI documents and CustomResourceDefinitions hold them. */
export interface Schema {
  type?: string | string[];
  properties?: Record<string, Schema>;
  items?: Schema;
  additionalProperties?: Schema | boolean;
  [member: string]: unknown;
}

/**
 * The schema of a kind as a strict JSON schema: a member that it does not name is an error, where the API server would
 * drop it without a word. `x-kubernetes-*` are put into JSON schema's words.
 */
export function strict(schema: Schema): Schema {
  if (schema['x-kubernetes-int-or-string'] === true || schema.format === 'int-or-string') {
    return { anyOf: [{ type: 'integer' }, { type: 'string' }] };
  }
  const { properties, items, additionalProperties, nullable, ...rest } = schema;
  const isOpen =
    schema['x-kubernetes-preserve-unknown-fields'] === true || additionalProperties !== undefined;
  return {
    ...withoutExtensions(rest),
    ...(nullable === true && typeof rest.type === 'string' && { type: [rest.type, 'null'] }),
    ...(properties && {
      properties: Object.fromEntries(
        Object.entries(properties).map(([name, member]) => [name, strict(member)]),
      ),
      ...(!isOpen && { additionalProperties: false }),
    }),
    ...(items && { items: strict(items) }),
    ...(typeof additionalProperties === 'object'
      ? { additionalProperties: strict(additionalProperties) }
      : additionalProperties !== undefined && { additionalProperties }),
  };
}

/** The schema of one custom resource: beside what its definition says, every object has these. */
export function customResource(schema: Schema): Schema {
  const { properties, ...rest } = strict(schema);
  const own = { apiVersion: { type: 'string' }, kind: { type: 'string' }, metadata: { type: 'object' } };
  return { ...rest, type: 'object', properties: { ...properties, ...own }, required: ['apiVersion', 'kind'] };
}

/** Formats and rules (CEL) that JSON schema's validators do not know, and words for people. */
function withoutExtensions(schema: Schema): Schema {
  return Object.fromEntries(
    Object.entries(schema).filter(
      ([name]) => !name.startsWith('x-kubernetes-') && name !== 'format' && name !== 'description',
    ),
  );
}
