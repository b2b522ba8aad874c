/** Why an answer, or a file, is not accepted: a short `reason` for programs and a text for people. */
export class Refusal extends Error {
  constructor(reason, text) {
    super(text);
    this.reason = reason;
  }
}
