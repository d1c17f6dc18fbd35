/**
 * Bytes of the items of a page, about; further items are on the next page. Otherwise a page of 200 of the longest items
 * would have 200 MB.
 */
export const maxPageBytes = 1024 * 1024;

/** A page of a list, newest first, after the last item of the page before. */
export interface PageRequest {
  limit: number;
  after?: { at: Date; id: string } | undefined;
}

export interface OfPage {
  /** Whether there are more rows. */
  more_follow: boolean;
}

/**
 * Rows until their sizes reach `maxPageBytes`, at least one. `size` and `order` are SQL over the columns of the
 * statement, which must have the same order. The size is computed for all rows up to its limit.
 */
export function withinPage(select: string, { size, order }: { size: string; order: string }): string {
  return `SELECT * FROM (
      SELECT listed.*, row_number() OVER page AS page_row, lead(true, 1, false) OVER page AS more_follow,
        sum(${size}) OVER page AS page_bytes
      FROM (${select}) AS listed WINDOW page AS (ORDER BY ${order} ROWS UNBOUNDED PRECEDING)
    ) AS sized WHERE page_row = 1 OR page_bytes <= ${maxPageBytes} ORDER BY page_row`;
}
