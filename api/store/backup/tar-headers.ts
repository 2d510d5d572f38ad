/** What a tar archive (ustar, POSIX.1-1988) says of one file. */
export interface TarEntry {
  name: string;
  bytes: number;
}

export const TAR_BLOCK = 512;
const MAX_OCTAL_BYTES = 0o77777777777;

/** Bytes from the start of one file's content to the next header. */
export function paddedBytes(bytes: number): number {
  return Math.ceil(bytes / TAR_BLOCK) * TAR_BLOCK;
}

/** The header block. Names of up to 255 bytes with a slash in the right place, any size (GNU's base 256 above 8 GiB). */
export function encodeTarHeader({ name, bytes }: TarEntry, modifiedAt: Date): Buffer {
  const block = Buffer.alloc(TAR_BLOCK);
  const { prefix, rest } = splitName(name);
  block.write(rest, 0);
  block.write('0000600\0', 100);
  block.write('0000000\0', 108);
  block.write('0000000\0', 116);
  writeSize(block, bytes);
  block.write(`${toOctal(Math.floor(modifiedAt.getTime() / 1000), 11)}\0`, 136);
  block.write('        ', 148);
  block.write('0', 156);
  block.write('ustar\x0000', 257);
  block.write(prefix, 345);
  block.write(`${toOctal(checksumOf(block), 6)}\0 `, 148);
  return block;
}

/** Undefined: the archive ends here. Throws where a header is damaged. */
export function decodeTarHeader(block: Buffer): TarEntry | undefined {
  if (block.every((byte) => byte === 0)) return undefined;
  const checksum = Number.parseInt(block.toString('latin1', 148, 154), 8);
  const blank = Buffer.from(block);
  blank.write('        ', 148);
  if (checksum !== checksumOf(blank))
    throw new Error('the archive is damaged: a header has a wrong checksum');
  const prefix = textOf(block, 345, 155);
  const rest = textOf(block, 0, 100);
  return { name: prefix === '' ? rest : `${prefix}/${rest}`, bytes: readSize(block) };
}

function splitName(name: string): { prefix: string; rest: string } {
  if (Buffer.byteLength(name) <= 100) return { prefix: '', rest: name };
  const slash = name.lastIndexOf('/', 155);
  const parts = { prefix: name.slice(0, slash), rest: name.slice(slash + 1) };
  if (slash < 0 || Buffer.byteLength(parts.rest) > 100)
    throw new Error(`too long a name for an archive: ${name}`);
  return parts;
}

function writeSize(block: Buffer, bytes: number): void {
  if (bytes <= MAX_OCTAL_BYTES) block.write(`${toOctal(bytes, 11)}\0`, 124);
  else {
    block.writeUInt8(0x80, 124);
    block.writeBigUInt64BE(BigInt(bytes), 128);
  }
}

function readSize(block: Buffer): number {
  if ((block.readUInt8(124) & 0x80) !== 0) return Number(block.readBigUInt64BE(128));
  return Number.parseInt(block.toString('latin1', 124, 135), 8);
}

function toOctal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0');
}

function checksumOf(block: Buffer): number {
  return block.reduce((sum, byte) => sum + byte, 0);
}

function textOf(block: Buffer, start: number, length: number): string {
  const text = block.subarray(start, start + length);
  const end = text.indexOf(0);
  return text.toString('utf8', 0, end < 0 ? length : end);
}
