/** A part of a list: at most `limit` items that come after the one whose id or position is `after`. */
export interface Page {
  limit: number;
  after?: string | undefined;
  /** Lists are in the order of making unless this is set. */
  newestFirst?: boolean | undefined;
}
