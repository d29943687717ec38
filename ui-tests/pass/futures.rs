//! Async functions, functions that return futures, `async-trait`; futures stay `Send` and `'static`
//! where they were.
#![deny(warnings)]
#![forbid(unsafe_code)]

use std::pin::Pin;
use std::rc::Rc;

use ratelimit::{Rejection, aratelimit};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[aratelimit(rate = "10/m", key = user)]
async fn plain(user: &str) -> Result<usize, Rejection> {
    tokio::task::yield_now().await;
    Ok(user.len())
}

#[aratelimit(rate = "10/m", key = user.len(), cost = user.len(), skip_if = user.is_empty())]
async fn owned(user: String) -> Result<String, Rejection> {
    if user == "x" {
        return Ok("early".to_owned());
    }
    tokio::task::yield_now().await;
    Ok(user)
}

#[aratelimit(rate = "10/m", key = value)]
async fn not_send(value: Rc<u32>) -> Option<u32> {
    tokio::task::yield_now().await;
    Some(*value)
}

#[aratelimit(rate = "10/m", key = value)]
fn returns_a_future(value: u32) -> impl Future<Output = Option<u32>> {
    async move { Some(value) }
}

#[aratelimit(rate = "10/m", key = value)]
fn borrows(value: &str) -> impl Future<Output = Result<&str, Rejection>> + Send {
    if value.is_empty() {
        return std::future::ready(Ok("empty"));
    }
    std::future::ready(Ok(value))
}

#[aratelimit(rate = "10/m")]
fn boxed<'a>(value: &'a str) -> Pin<Box<dyn Future<Output = Option<&'a str>> + Send + 'a>> {
    Box::pin(async move { Some(value) })
}

#[aratelimit(rate = "10/m")]
fn aliased(value: &str) -> BoxFuture<'_, Result<usize, Rejection>> {
    let length = value.len();
    Box::pin(async move { Ok(length) })
}

#[aratelimit(rate = "1000/m", key = depth)]
fn recursive(depth: u32) -> BoxFuture<'static, Option<u32>> {
    Box::pin(async move {
        if depth == 0 {
            Some(0)
        } else {
            Some(recursive(depth - 1).await? + 1)
        }
    })
}

#[aratelimit(rate = "10/m", on_limit = |rejection: Rejection| rejection.to_string())]
async fn says_no_itself() -> String {
    "ran".to_owned()
}

#[aratelimit(rate = "10/m", key = value)]
async fn generic<T: ratelimit::Key + Send + Sync>(value: T) -> Option<T> {
    Some(value)
}

#[async_trait::async_trait]
trait Store {
    async fn load(&self, key: &str) -> Result<String, Rejection>;

    #[aratelimit(name = "Store::twice", rate = "10/m", key = key)]
    async fn twice(&self, key: &str) -> Result<String, Rejection> {
        Ok(self.load(key).await?.repeat(2))
    }
}

struct Memory {
    prefix: String,
}

#[async_trait::async_trait]
impl Store for Memory {
    #[aratelimit(name = "Memory::load", rate = "10/m", key = (self.prefix, key))]
    async fn load(&self, key: &str) -> Result<String, Rejection> {
        tokio::task::yield_now().await;
        Ok(format!("{}{key}", self.prefix))
    }
}

trait Native {
    fn load(&self, key: u32) -> impl Future<Output = Option<u32>> + Send;
}

impl Native for Memory {
    #[aratelimit(name = "Memory::native", rate = "10/m", key = key)]
    async fn load(&self, key: u32) -> Option<u32> {
        Some(key)
    }
}

fn is_send<T: Send>(future: T) -> T {
    future
}

fn is_static<T: Send + 'static>(future: T) -> T {
    future
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        assert_eq!(is_send(plain("ada")).await.unwrap(), 3);
        assert_eq!(is_static(owned("ada".to_owned())).await.unwrap(), "ada");
        assert_eq!(owned("x".to_owned()).await.unwrap(), "early");
        assert_eq!(owned(String::new()).await.unwrap(), "");
        assert_eq!(not_send(Rc::new(7)).await, Some(7));
        assert_eq!(is_static(returns_a_future(7)).await, Some(7));
        assert_eq!(is_send(borrows("")).await.unwrap(), "empty");
        assert_eq!(boxed("b").await, Some("b"));
        assert_eq!(aliased("four").await.unwrap(), 4);
        assert_eq!(is_static(recursive(5)).await, Some(5));
        assert_eq!(is_static(says_no_itself()).await, "ran");
        assert_eq!(is_send(generic(7)).await, Some(7));
        let memory = Memory {
            prefix: "p".to_owned(),
        };
        assert_eq!(is_send(memory.twice("k")).await.unwrap(), "pkpk");
        assert_eq!(is_send(Native::load(&memory, 7)).await, Some(7));
    });
}
