/** The one door to cdk8s: charts import it from here, so that its next major version is one file's change. */
export { ApiObject, App, Chart, Yaml } from 'cdk8s';
export { k8s } from 'cdk8s-plus-27';
export type { Construct } from 'constructs';
