/** About: a page of 200 of the longest items would have 200 MB. */
export const maxPageBytes = 1024 * 1024;

export interface PageRequest {
  limit: number;
  after?: { at: Date; id: string } | undefined;
}

export interface OfPage {
  more_follow: boolean;
}

/** At least one row. `order` must be that of the statement. Computes the sizes of all rows up to its limit. */
export function withinPage(select: string, { size, order }: { size: string; order: string }): string {
  return `SELECT * FROM (
      SELECT listed.*, row_number() OVER page AS page_row, lead(true, 1, false) OVER page AS more_follow,
        sum(${size}) OVER page AS page_bytes
      FROM (${select}) AS listed WINDOW page AS (ORDER BY ${order} ROWS UNBOUNDED PRECEDING)
    ) AS sized WHERE page_row = 1 OR page_bytes <= ${maxPageBytes} ORDER BY page_row`;
}
