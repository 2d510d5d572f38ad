import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Folds a file of F32 into an f64 sum in another language. */
export interface FoldProgram {
  name: string;
  /** Seconds for so many passes, after one that is not counted. */
  run(file: { path: string; dataStart: number; parameters: number }, passes: number): number;
}

const C_SOURCE = String.raw`
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#ifdef HASHED
void *EVP_MD_CTX_new(void);
const void *EVP_sha256(void);
int EVP_DigestInit_ex(void *, const void *, void *);
int EVP_DigestUpdate(void *, const void *, size_t);
int EVP_DigestFinal_ex(void *, unsigned char *, unsigned *);
#endif
enum { CHUNK = 1 << 20, PIECE = 1 << 16 };
static void fold(const char *path, long start, long parameters, double *sum, char *chunk) {
  int file = open(path, O_RDONLY);
  long at = 0;
  lseek(file, start, SEEK_SET);
#ifdef HASHED
  unsigned char digest[64];
  void *hash = EVP_MD_CTX_new();
  EVP_DigestInit_ex(hash, EVP_sha256(), 0);
#endif
  while (at < parameters) {
    long want = (parameters - at) * 4 < CHUNK ? (parameters - at) * 4 : CHUNK;
    long have = 0;
    while (have < want) {
      long got = read(file, chunk + have, want - have);
      if (got <= 0) exit(1);
      have += got;
    }
    for (long piece = 0; piece < want; piece += PIECE) {
      long bytes = want - piece < PIECE ? want - piece : PIECE;
#ifdef HASHED
      EVP_DigestUpdate(hash, chunk + piece, bytes);
#endif
      const float *values = (const float *)(chunk + piece);
      for (long i = 0; i < bytes / 4; i++) sum[at + i] += 100.0 * values[i];
      at += bytes / 4;
    }
  }
#ifdef HASHED
  EVP_DigestFinal_ex(hash, digest, 0);
#endif
  close(file);
}
int main(int count, char **arguments) {
  if (count < 5) return 2;
  long start = atol(arguments[2]), parameters = atol(arguments[3]), passes = atol(arguments[4]);
  double *sum = calloc(parameters, sizeof *sum);
  char *chunk = aligned_alloc(64, CHUNK);
  struct timespec from, to;
  fold(arguments[1], start, parameters, sum, chunk);
  clock_gettime(CLOCK_MONOTONIC, &from);
  for (long pass = 0; pass < passes; pass++) fold(arguments[1], start, parameters, sum, chunk);
  clock_gettime(CLOCK_MONOTONIC, &to);
  printf("%.9f %g\n", (to.tv_sec - from.tv_sec) + (to.tv_nsec - from.tv_nsec) / 1e9, sum[parameters / 2]);
  return 0;
}
`;

const PYTHON_SOURCE = `
import sys, time
import numpy as np
path, start, parameters, passes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
total = np.zeros(parameters)
def fold():
    global total
    total += np.fromfile(path, dtype='<f4', count=parameters, offset=start) * 100.0
fold()
began = time.perf_counter()
for _ in range(passes): fold()
print(time.perf_counter() - began, total[parameters // 2])
`;

/** Those that this machine can run: a C compiler, and numpy, need not be there. */
export function findFoldPrograms(folder: string): FoldProgram[] {
  const source = join(folder, 'fold.c');
  writeFileSync(source, C_SOURCE);
  const plain = join(folder, 'fold-plain');
  const hashed = join(folder, 'fold-hashed');
  const compile = (target: string, ...more: string[]) =>
    spawnSync('gcc', ['-O3', '-march=native', '-o', target, source, ...more]).status === 0;
  const script = join(folder, 'fold.py');
  writeFileSync(script, PYTHON_SOURCE);
  return [
    ...(compile(plain) ? [program('C loop', [plain])] : []),
    ...(compile(hashed, '-DHASHED', '-l:libcrypto.so.3') ? [program('C loop with SHA-256', [hashed])] : []),
    ...(spawnSync('python3', ['-c', 'import numpy']).status === 0
      ? [program('numpy', ['python3', script])]
      : []),
  ];
}

function program(name: string, [command, ...before]: string[]): FoldProgram {
  return {
    name,
    run({ path, dataStart, parameters }, passes) {
      const args = [...before, path, ...[dataStart, parameters, passes].map(String)];
      return Number(execFileSync(command!, args, { encoding: 'utf8' }).split(' ')[0]);
    },
  };
}
