import { parseAllDocuments } from 'yaml';
import { customResource, type Schema, strict } from './strict-schemas.ts';

interface Definition {
  kind: string;
  metadata: { name: string };
  spec: {
    group: string;
    names: { kind: string };
    versions: { name: string; served: boolean; schema?: { openAPIV3Schema: Schema } }[];
  };
}

/** Where the schema of a kind lies; `kubeconform` finds it by the template `pathTemplate`. */
export const pathTemplate = '{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json';
/** kubeconform takes the version for the group where there is none. */
const pathOf = (group: string, kind: string, version: string) =>
  `${group || version}/${kind.toLowerCase()}_${version}.json`;

/** The schemas of the definitions in a YAML text, and the definitions themselves, by path. */
export function readDefinitions(text: string): {
  schemas: Map<string, Schema>;
  definitions: Map<string, object>;
} {
  const schemas = new Map<string, Schema>();
  const definitions = new Map<string, object>();
  for (const document of parseAllDocuments(text, { maxAliasCount: -1 } as object)) {
    const definition = (document as { toJS(): unknown }).toJS() as Definition | null;
    if (definition?.kind !== 'CustomResourceDefinition') continue;
    const { group, names, versions } = definition.spec;
    definitions.set(`${definition.metadata.name}.json`, definition);
    for (const { name, served, schema } of versions) {
      if (served && schema)
        schemas.set(pathOf(group, names.kind, name), customResource(schema.openAPIV3Schema));
    }
  }
  return { schemas, definitions };
}

const TYPES = 'types.json';

interface Kind {
  group: string;
  kind: string;
  version: string;
}

/** The schemas of Kubernetes' own kinds. They refer to one file with all types. */
export function readKubernetes(text: string): Map<string, Schema> {
  const { definitions } = JSON.parse(text) as { definitions: Record<string, Schema> };
  const schemas = new Map<string, Schema>();
  for (const [name, type] of Object.entries(definitions)) {
    for (const { group, kind, version } of (type['x-kubernetes-group-version-kind'] as Kind[]) ?? []) {
      schemas.set(pathOf(group, kind, version), { $ref: `../${TYPES}#/definitions/${name}` });
    }
  }
  const types = Object.entries(definitions).map(([name, type]) => [name, typeSchema(name, type)] as const);
  return schemas.set(TYPES, { definitions: Object.fromEntries(types) });
}

/** A Quantity may be written as a number. */
function typeSchema(name: string, type: Schema): Schema {
  return name.endsWith('.resource.Quantity') ? { type: ['string', 'number'] } : strict(type);
}
