import { argoRollouts } from './flavours/argo-rollouts.ts';
import { harbor } from './flavours/harbor.ts';
import { istio } from './flavours/istio.ts';
import { k3s } from './flavours/k3s.ts';
import { keda } from './flavours/keda.ts';
import { knative } from './flavours/knative.ts';
import { kserve } from './flavours/kserve.ts';
import { kubeedge } from './flavours/kubeedge.ts';
import { kubeflow } from './flavours/kubeflow.ts';
import { seldon } from './flavours/seldon.ts';
import type { Part } from './part.ts';

/** Parts that a switch of `settings.flavours` adds; each is one file in infra/flavours. */
export const flavours: readonly Part[] = [
  { layer: 'platform', name: 'istio', add: istio },
  { layer: 'platform', name: 'harbor', add: harbor },
  { layer: 'platform', name: 'k3s', add: k3s },
  { layer: 'server', name: 'keda', add: keda },
  { layer: 'server', name: 'knative', add: knative },
  { layer: 'server', name: 'argo-rollouts', add: argoRollouts },
  { layer: 'rollout', name: 'seldon', add: seldon },
  { layer: 'rollout', name: 'kserve', add: kserve },
  { layer: 'agents', name: 'kubeedge', add: kubeedge },
  { layer: 'agents', name: 'kubeflow', add: kubeflow },
];
