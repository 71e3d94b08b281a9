// A blind test: X is A or B, drawn again in each round. What X was, and the score, are told at the end only.
class BlindTest {
  constructor(rounds) {
    this.rounds = rounds;
    this.answers = [];
    this.draw();
  }

  draw() { this.secret = crypto.getRandomValues(new Uint8Array(1))[0] & 1; }

  answer(n) {
    this.answers.push(n === this.secret);
    this.draw();
  }

  get over() { return this.answers.length >= this.rounds; }
  get right() { return this.answers.filter(Boolean).length; }

  // How probable it is that somebody who guesses gets as many right: the tail of a binomial distribution.
  get p() { return chance(this.right, this.answers.length); }
}

function chance(right, rounds) {
  let term = 1, tail = 0;
  for (let k = 0; k <= rounds; k++) {
    if (k >= right) tail += term;
    term *= (rounds - k) / (k + 1);
  }
  return tail / 2 ** rounds;
}
