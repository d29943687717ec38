//! Every argument of the attribute, in every form.
#![deny(warnings)]

use ratelimit::{Limits, Rate, Rejection, rate, ratelimit};

#[derive(Clone, Copy)]
enum Plan {
    Free,
    Pro,
    Custom(Rate),
}

impl From<Plan> for Limits {
    fn from(plan: Plan) -> Self {
        match plan {
            Plan::Free => rate!("1/m").into(),
            Plan::Pro => rate!("100/m").into(),
            Plan::Custom(rate) => rate.into(),
        }
    }
}

const RATE: Rate = rate!("1_000 / 10 min");

#[ratelimit(rate = " 10 / m , 100/2h,1000/ 3 days ")]
fn several() -> Option<u32> {
    Some(7)
}

#[ratelimit(rate = match plan { Plan::Free => "10/m", Plan::Pro => "1000/m", Plan::Custom(rate) => rate })]
fn by_plan(plan: Plan) -> Option<u32> {
    Some(7)
}

#[ratelimit(rate = if big { "10/m" } else if bigger { "20/m, 30/h" } else { let name = "not a rate"; let _ = name; RATE })]
fn by_condition(big: bool, bigger: bool) -> Option<u32> {
    Some(7)
}

#[ratelimit(rate = match text { "not/a rate" => "10/m", _ => return Some(8) })]
fn by_text(text: &str) -> Option<u32> {
    Some(7)
}

#[ratelimit(rate = RATE)]
fn by_constant() -> Option<u32> {
    Some(7)
}

#[ratelimit(rate = plan, key = name)]
fn by_conversion(plan: Plan, name: &str) -> Option<u32> {
    Some(7)
}

#[ratelimit(rate = limits)]
fn by_reference(limits: &Limits) -> Option<u32> {
    let _ = limits;
    Some(7)
}

impl ratelimit::Key for Wrapped {
    fn encode(&self, out: &mut ratelimit::KeyBuf) {
        self.0.encode(out);
    }
}

struct Wrapped(u32);

#[ratelimit(rate = "10/m", key = "ip")]
fn argument_wins_over_source(ip: &str) -> Option<usize> {
    Some(ip.len())
}

#[ratelimit(
    rate = "10/s, 100/h",
    burst = [20, 100],
    algorithm = "gcra",
    key = (tenant, wrapped.0, "constant", tenant.len()),
    cost = 2,
    skip_if = tenant == "internal",
    mode = "shadow",
    on_error = "open",
    name = "all of them",
    crate = ratelimit,
)]
fn all(tenant: &str, wrapped: &Wrapped) -> Result<String, Rejection> {
    Ok(format!("{tenant}{}", wrapped.0))
}

#[ratelimit(rate = "10/m", burst = tokens, cost = tokens / 2)]
fn dynamic_burst(tokens: u64) -> Option<u64> {
    Some(tokens)
}

#[ratelimit(rate = "10/m, 100/h", burst = [tokens, tokens])]
fn dynamic_bursts(tokens: u32) -> Option<u32> {
    Some(tokens)
}

#[ratelimit(rate = "10/m", mode = "off", backend = "not there")]
fn off() -> Option<u32> {
    Some(7)
}

#[ratelimit(rate = "10/m", key = "wrapped")]
fn moved_by_the_body(wrapped: Wrapped, costs: Vec<u32>) -> Option<(Wrapped, Vec<u32>)> {
    Some((wrapped, costs))
}

#[ratelimit(rate = "10/m", cost = costs.len())]
fn cost_of_what_is_moved(costs: Vec<u32>) -> Option<Vec<u32>> {
    Some(costs)
}

fn main() {
    assert!(several().is_some());
    for (plan, name) in [
        (Plan::Free, "a"),
        (Plan::Pro, "b"),
        (Plan::Custom(RATE), "c"),
    ] {
        assert!(by_plan(plan).is_some());
        assert!(by_conversion(plan, name).is_some());
    }
    assert!(by_condition(true, false).is_some());
    assert_eq!(by_text("other"), Some(8));
    assert!(by_constant().is_some());
    assert!(by_reference(&RATE.into()).is_some());
    assert!(argument_wins_over_source("x").is_some());
    assert!(all("a", &Wrapped(1)).is_ok());
    assert!(dynamic_burst(10).is_some());
    assert!(dynamic_bursts(10).is_some());
    assert!(off().is_some());
    assert!(moved_by_the_body(Wrapped(1), vec![1]).is_some());
    assert!(cost_of_what_is_moved(vec![1]).is_some());
}
