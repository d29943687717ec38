//! Methods, traits, generics, lifetimes, patterns.
#![deny(warnings)]

use std::fmt::Display;
use std::sync::Arc;

use ratelimit::{Key, Rejection, aratelimit, ratelimit};

struct Shop {
    name: String,
    sold: u32,
}

impl Shop {
    #[ratelimit(name = "Shop::look", rate = "10/m", key = self.name)]
    fn look(&self) -> Result<&str, Rejection> {
        Ok(&self.name)
    }

    #[ratelimit(name = "Shop::sell", rate = "10/m", key = (self.name, item))]
    fn sell(&mut self, item: &str) -> Result<u32, Rejection> {
        let _ = item;
        self.sold += 1;
        Ok(self.sold)
    }

    #[ratelimit(name = "Shop::close", rate = "10/m")]
    fn close(self) -> Result<String, Rejection> {
        Ok(self.name)
    }

    #[ratelimit(name = "Shop::share", rate = "10/m", key = self.name)]
    fn share(self: Arc<Self>) -> Option<Arc<Self>> {
        Some(self)
    }

    #[aratelimit(name = "Shop::order", rate = "10/m", key = self.name)]
    async fn order(&mut self, item: String) -> Result<String, Rejection> {
        self.sold += 1;
        Ok(item)
    }
}

trait Greet {
    fn name(&self) -> String;

    #[ratelimit(name = "Greet::greet", rate = "10/m", key = self.name())]
    fn greet(&self) -> Option<String> {
        Some(format!("hello, {}", self.name()))
    }
}

impl Greet for Shop {
    fn name(&self) -> String {
        self.name.clone()
    }
}

struct Loud;

impl Greet for Loud {
    fn name(&self) -> String {
        "LOUD".to_owned()
    }

    #[ratelimit(name = "Loud::greet", rate = "10/m")]
    fn greet(&self) -> Option<String> {
        Some("HELLO".to_owned())
    }
}

#[ratelimit(rate = "10/m", key = key)]
fn generic<K, T>(key: K, value: T) -> Result<String, Rejection>
where
    K: Key + Copy,
    T: Display,
{
    let _ = key;
    Ok(value.to_string())
}

#[ratelimit(rate = "10/m", key = one)]
fn lifetimes<'a, 'b: 'a>(one: &'a str, other: &'b str) -> Option<&'a str> {
    Some(if one.is_empty() { other } else { one })
}

#[ratelimit(rate = "10/m", key = (a, c))]
fn patterns((a, b): (u32, u32), [c, ..]: [u32; 3], Point { x, y: _ }: Point) -> Option<u32> {
    Some(a + b + c + x)
}

struct Point {
    x: u32,
    #[allow(dead_code)]
    y: u32,
}

#[ratelimit(rate = "10/m", key = count)]
fn arguments_of_any_type(
    count: impl Key + Copy + Into<u64>,
    _: &dyn Display,
    mut sum: u64,
) -> Option<u64> {
    sum += count.into();
    Some(sum)
}

const fn size<const N: usize>() -> usize {
    N
}

#[ratelimit(rate = "10/m", cost = size::<N>(), burst = 100)]
fn constant_generics<const N: usize>(values: [u32; N]) -> Option<u32> {
    values.into_iter().next()
}

fn main() {
    let mut shop = Shop {
        name: "corner".to_owned(),
        sold: 0,
    };
    assert_eq!(shop.look().unwrap(), "corner");
    assert_eq!(shop.sell("tea").unwrap(), 1);
    assert_eq!(shop.greet().unwrap(), "hello, corner");
    assert_eq!(Loud.greet().unwrap(), "HELLO");
    assert_eq!(Loud.name(), "LOUD");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    assert_eq!(
        runtime.block_on(shop.order("tea".to_owned())).unwrap(),
        "tea"
    );
    assert_eq!(generic(7, "x").unwrap(), "x");
    assert_eq!(lifetimes("", "b"), Some("b"));
    assert_eq!(patterns((1, 2), [3, 4, 5], Point { x: 6, y: 7 }), Some(12));
    assert_eq!(arguments_of_any_type(7_u32, &"", 1), Some(8));
    assert_eq!(constant_generics([1, 2, 3]), Some(1));
    let shop = Arc::new(shop).share().unwrap();
    assert_eq!(Arc::into_inner(shop).unwrap().close().unwrap(), "corner");
}
