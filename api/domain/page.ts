/** A part of a list: at most `limit` items after the one whose id or position is `after`. */
export interface Page {
  limit: number;
  after?: string | undefined;
}
