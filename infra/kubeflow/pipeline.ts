const COMPONENT = 'run-federation';

/** How the pipeline's one container is called. */
interface Step {
  image: string;
  /** The text that runs a federation (run-federation.mjs). */
  script: string;
  /** The Secret, in the namespace of the pipeline's runs, with an operator's key. */
  secret: { name: string; folder: string; key: string };
}

/**
 * A pipeline for Kubeflow Pipelines 2 (its intermediate representation, as YAML documents): one step that runs a
 * federation by our API. In: `url`, and `run`, the body of POST /v1/runs. Out: `run_id` and `version`, the model's head
 * afterwards. Other pipelines load it as a component: `kfp.components.load_component_from_file`.
 */
export function federationPipeline({ image, script, secret }: Step): [spec: object, platform: object] {
  const inputs = {
    url: { parameterType: 'STRING', description: 'Where the API is.' },
    run: { parameterType: 'STRUCT', description: 'The body of POST /v1/runs.' },
  };
  const outputs = { run_id: { parameterType: 'STRING' }, version: { parameterType: 'NUMBER_INTEGER' } };
  const outputFile = (name: keyof typeof outputs) => `{{$.outputs.parameters['${name}'].output_file}}`;
  const spec = {
    pipelineInfo: { name: COMPONENT, description: 'Trains a model on devices, by FedEdge.' },
    schemaVersion: '2.1.0',
    sdkVersion: 'kfp-2.14.0',
    components: {
      [`comp-${COMPONENT}`]: {
        executorLabel: `exec-${COMPONENT}`,
        inputDefinitions: { parameters: inputs },
        outputDefinitions: { parameters: outputs },
      },
    },
    deploymentSpec: {
      executors: {
        [`exec-${COMPONENT}`]: {
          container: {
            image,
            command: ['node', '--input-type=module', '-e', script, '--'],
            args: [
              ...['--url', "{{$.inputs.parameters['url']}}"],
              ...['--run', "{{$.inputs.parameters['run']}}"],
              ...['--key-file', `${secret.folder}/${secret.key}`],
              ...['--once', '{{$.pipeline_job_uuid}}-{{$.pipeline_task_uuid}}'],
              ...['--run-id-to', outputFile('run_id')],
              ...['--version-to', outputFile('version')],
            ],
            resources: { cpuLimit: 0.5, memoryLimit: 0.25 },
          },
        },
      },
    },
    root: root(inputs, outputs),
  };
  const mounted = { secretName: secret.name, mountPath: secret.folder };
  const executors = { [`exec-${COMPONENT}`]: { secretAsVolume: [mounted] } };
  return [spec, { platforms: { kubernetes: { deploymentSpec: { executors } } } }];
}

/** The pipeline around the one step: its inputs go in, its outputs come out. */
function root(inputs: Record<string, object>, outputs: Record<string, object>) {
  const each = <T>(names: object, give: (name: string) => T) =>
    Object.fromEntries(Object.keys(names).map((name) => [name, give(name)]));
  return {
    inputDefinitions: { parameters: inputs },
    outputDefinitions: { parameters: outputs },
    dag: {
      tasks: {
        [COMPONENT]: {
          taskInfo: { name: COMPONENT },
          componentRef: { name: `comp-${COMPONENT}` },
          // The devices' data changes: the same question has another answer.
          cachingOptions: {},
          inputs: { parameters: each(inputs, (name) => ({ componentInputParameter: name })) },
        },
      },
      outputs: {
        parameters: each(outputs, (name) => ({
          valueFromParameter: { outputParameterKey: name, producerSubtask: COMPONENT },
        })),
      },
    },
  };
}
