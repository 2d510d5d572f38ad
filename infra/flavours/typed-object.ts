import { ApiObject, type Chart } from '../kubernetes.ts';

/** An object of a kind that Kubernetes itself does not know, as the kind's own package types it. */
interface Typed {
  apiVersion: string;
  kind: string;
  metadata?: { name?: string; namespace?: string };
}

/** Adds it to the chart, under its kind and name. */
export function addObject<T extends Typed>(chart: Chart, object: T): void {
  const { apiVersion, kind, metadata, ...rest } = object;
  new ApiObject(chart, `${kind}-${metadata?.name}`, { apiVersion, kind, metadata: { ...metadata }, ...rest });
}
