export { type Agent, createAgent } from './agent/agent.ts';
export type { AgentEvent, AgentLog, AssignmentOutcome } from './agent/agent-event.ts';
export type { AgentOptions } from './agent/agent-options.ts';
export type * from './generated/types.gen.ts';
export { ConnectionError, ProblemError } from './http/problem-error.ts';
export type { Backoff, Timing } from './http/retries.ts';
export type { LabelledExamples } from './operator/evaluation-file.ts';
export type { FederationEvent } from './operator/event-stream.ts';
export { createOperator, type Operator, type OperatorOptions } from './operator/operator.ts';
export type { AgentStore } from './store/agent-store.ts';
export { createMemoryStore } from './store/memory-store.ts';
export type { Encoding } from './tensors/updates.ts';
export {
  Declined,
  type Evaluation,
  type NamedTensor,
  type NamedTensors,
  type Progress,
  type Task,
  type Trainer,
  type Training,
} from './trainer.ts';
