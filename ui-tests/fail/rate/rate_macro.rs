use ratelimit::{Rate, rate};

const A: Rate = rate!("10/y");
const B: Rate = rate!("10/s, 5/m");
const C: Rate = rate!(10);

fn main() {}
