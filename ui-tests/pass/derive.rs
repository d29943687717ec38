//! `#[derive(Key)]`.
#![deny(warnings)]
#![forbid(unsafe_code)]

use ratelimit::{Key, KeyBuf, Rejection, ratelimit};

#[derive(Key)]
struct Tenant<'a> {
    region: &'a str,
    id: u64,
}

#[derive(Key, Clone, Copy)]
struct UserId(u64);

#[derive(Key)]
struct Everyone;

#[derive(Key)]
enum Caller<T> {
    Anonymous,
    User(T),
    Machine { rack: u8, slot: u8 },
}

#[derive(Key)]
struct Pair<A, B>
where
    A: Clone,
{
    a: A,
    b: B,
}

#[ratelimit(rate = "1/h", key = user)]
fn guarded(user: UserId) -> Result<u64, Rejection> {
    Ok(user.0)
}

fn main() {
    let keys = [
        KeyBuf::of(&Tenant {
            region: "eu",
            id: 1,
        }),
        KeyBuf::of(&Tenant { region: "e", id: 1 }),
        KeyBuf::of(&UserId(1)),
        KeyBuf::of(&Everyone),
        KeyBuf::of(&Caller::<u32>::Anonymous),
        KeyBuf::of(&Caller::User(1)),
        KeyBuf::of(&Caller::User("1")),
        KeyBuf::of(&Caller::<u32>::Machine { rack: 1, slot: 2 }),
        KeyBuf::of(&Caller::<u32>::Machine { rack: 2, slot: 1 }),
        KeyBuf::of(&Pair { a: 1, b: "x" }),
    ];
    for (index, key) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(key), "{index}");
    }
    assert!(guarded(UserId(1)).is_ok());
    assert!(guarded(UserId(1)).is_err());
    assert!(guarded(UserId(2)).is_ok());
}
