export { createTfjsModel } from './tfjs-model.ts';
export {
  createTfjsTrainer,
  type Examples,
  type ExamplesSource,
  type TfjsTrainerOptions,
} from './tfjs-trainer.ts';
