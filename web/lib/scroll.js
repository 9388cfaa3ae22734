// What a box shows of rows that may be higher, all together, than a browser lets anything be.

/** Firefox cuts off what is higher than some 17,900,000 px, others what is higher than some 33,500,000 px. */
const HIGHEST = 16_000_000;

/** Rows of one height. Where all of them are too high, a pixel of the scrollbar stands for more than one of theirs. */
export class Scroll {
  constructor(length, rowHeight) {
    this.rowHeight = rowHeight;
    /** The height of the rows in the document. */
    this.height = Math.min(length * rowHeight, HIGHEST);
    /** The pixels of the rows that the document has no place for. */
    this.excess = length * rowHeight - this.height;
  }

  /** How much higher up than in a document of full height the rows are that a box shows now. */
  offset(box) {
    const most = box.scrollHeight - box.clientHeight;
    return most > 0 ? Math.round(this.excess * Math.min(1, box.scrollTop / most)) : 0;
  }

  /** The pixel of the rows at the top of a box. */
  top(box) {
    return box.scrollTop + this.offset(box);
  }

  /** Scrolls a box until this pixel of the rows is at its top. */
  scrollTo(box, pixel) {
    const most = box.scrollHeight - box.clientHeight;
    box.scrollTop = (pixel * most) / (most + this.excess);
  }

  /** The rows that a box shows, with `beyond` more on either side to be in the document, and its offset. */
  look(box, beyond) {
    const [offset, height] = [this.offset(box), this.rowHeight];
    const first = Math.floor((box.scrollTop + offset) / height);
    const last = Math.ceil((box.scrollTop + offset + box.clientHeight) / height);
    const from = Math.max(0, first - beyond, Math.ceil(offset / height));
    const to = this.excess > 0 ? Math.min(last + beyond, Math.floor((this.height + offset) / height)) : last + beyond;
    return { first, last, range: [from, to, offset] };
  }
}
