import progress from 'cli-progress';

const { Format, Presets } = progress;
const WIDTH = 10;

/** A bar of ten cells for a share from 0 to 1; plain characters where there is no colour. */
export function formatBar(share: number, plain: boolean): string {
  const { barCompleteChar, barIncompleteChar } = plain ? Presets.legacy : Presets.shades_classic;
  const [full, empty] = plain ? ['=', '-'] : [barCompleteChar as string, barIncompleteChar as string];
  return Format.BarFormat(Math.min(1, Math.max(0, share)), {
    barsize: WIDTH,
    barCompleteString: full.repeat(WIDTH),
    barIncompleteString: empty.repeat(WIDTH),
    barGlue: '',
  });
}
