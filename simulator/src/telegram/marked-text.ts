/** A text without its marks; offsets and lengths count UTF-16 units. Source: Telegram Bot API, available methods. */
export interface MarkedText {
  text: string;
  entities: Entity[];
}

export interface Entity {
  type: string;
  offset: number;
  length: number;
  url?: string;
  language?: string;
}

/** A text under construction. */
export class MarkupBuilder {
  text = "";
  readonly #entities: Entity[] = [];

  /** Notes an entity from `offset` to here; an empty one is left out. */
  close(offset: number, entity: Omit<Entity, "offset" | "length">): void {
    const length = this.text.length - offset;
    if (length > 0) this.#entities.push({ ...entity, offset, length });
  }

  /** Outer entities first. */
  done(): MarkedText {
    const entities = this.#entities.sort((a, b) => a.offset - b.offset || b.length - a.length);
    return { text: this.text, entities };
  }
}
