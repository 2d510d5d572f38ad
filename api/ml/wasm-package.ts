// By a static import: a bundler gives the names of a CommonJS package to that alone. Imported when it is needed.
export { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
