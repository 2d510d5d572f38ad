import { answerOf } from '../answers.ts';
import { jsonRequest, type TestApp } from '../app.ts';

type Headers = Record<string, string>;

/** Requests to an app that a hook has yet to create; as its operator unless other headers are given. */
export function callsTo(test: () => TestApp, operator: () => Headers) {
  return {
    get: (path: string, headers: Headers, app = test().app) => answerOf(app.request(path, { headers })),
    send: (method: string, path: string, body: unknown, headers = operator()) =>
      answerOf(test().app.request(path, jsonRequest(method, body, headers))),
    post: (path: string, headers = operator()) =>
      answerOf(test().app.request(path, { method: 'POST', headers })),
  };
}
