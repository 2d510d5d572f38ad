/** One line of a table: the parameters, the figure, the peer's figure and their ratio. */
export type Row = Record<string, string | number | boolean | null>;

export interface Context {
  /** Tiny sizes: shows that everything runs, measures nothing. */
  quick: boolean;
  /** A temporary folder on the disk that is measured; whoever gave it removes it. */
  folder: string;
  /** Tells a person what is going on. */
  note(text: string): void;
}

/** A benchmark: measures us and our peers, where there are any, in turns (A B A B ...) and gives medians. */
export type Measure = (context: Context) => Promise<Row[]>;

export interface Comparison {
  unit: string;
  figure: number;
  /** Of time and memory less is better. */
  better: 'more' | 'less';
  peer?: string | undefined;
  peerFigure?: number | undefined;
  /** The least that users accept. */
  goal?: { figure?: number; ratio?: number } | undefined;
  /** What the machine allows. */
  aim?: number | undefined;
}

/** A row's end. In `ratio` and `ofAim` more is better whatever the unit: 1 is as good as the peer, or as the aim. */
export function compare({ unit, figure, better, peer, peerFigure, goal, aim }: Comparison): Row {
  const against = (other: number) => round(better === 'more' ? figure / other : other / figure);
  const ratio = peerFigure === undefined ? null : against(peerFigure);
  const sign = better === 'more' ? '>=' : '<=';
  const goals = [
    ...(goal?.figure === undefined ? [] : [`${sign} ${goal.figure}`]),
    ...(goal?.ratio === undefined ? [] : [`ratio >= ${goal.ratio}`]),
  ];
  const met =
    (goal?.figure === undefined || against(goal.figure) >= 1) &&
    (goal?.ratio === undefined || (ratio !== null && ratio >= goal.ratio));
  return {
    unit,
    figure: round(figure),
    peer: peer ?? null,
    peerFigure: peerFigure === undefined ? null : round(peerFigure),
    ratio,
    ...(goals.length > 0 && { goal: goals.join(', '), met }),
    ...(aim !== undefined && { aim, ofAim: against(aim) }),
  };
}

/** Four significant digits: more would be noise. */
export function round(value: number): number {
  return Number(value.toPrecision(4));
}
