//! The conformance suite: what every backend has to pass, over `Arc<dyn Backend>` and a clock.
//!
//! A backend's test file says how an instance is opened ([`Store`]) and calls
//! [`conformance!`](macro@crate::conformance), which makes a test of each case. Which cases say anything
//! follows from what the backend claims ([`Capabilities`](ratelimit_core::Capabilities)).
//!
//! | module | what it shows |
//! |---|---|
//! | [`worked`] | the definitions of the algorithms, with concrete numbers |
//! | [`history`] | every answer of random histories is that of the [model](crate::model) |
//! | [`promises`] | `retry_after` is exact, several rates are one decision, denials cost nothing |
//! | [`queue`] | the leaky bucket as a queue |
//! | [`keys`] | no key is taken for another |
//! | [`expiry`] | what is over leaves nothing behind |
//! | [`concurrency`] | whoever asks at once, exactly the limit is admitted |
//! | [`errors`] | what cannot be decided is an error of the right kind |
//! | [`real_time`] | the store's own clock: few cases, bounds only |
//!
//! [`mod@bench`] has what the cases share, [`follow`] the judge of histories.

pub mod bench;
pub mod concurrency;
pub mod errors;
pub mod expiry;
pub mod follow;
pub mod history;
pub mod keys;
pub mod promises;
pub mod queue;
pub mod real_time;
pub mod worked;

use std::sync::Arc;

use ratelimit_core::{Backend, BoxFuture, ManualClock};

/// Whose time a backend decides by.
#[derive(Clone, Debug)]
pub enum Time {
    /// What this clock shows.
    Injected(ManualClock),
    /// What the backend, or its store, has for a clock.
    Own,
}

/// One store that nobody has used before.
pub trait Store: Send + Sync {
    /// One more backend instance on this very store. All instances of one store are opened with the
    /// same time.
    fn open(&self, time: Time) -> BoxFuture<'_, Arc<dyn Backend>>;

    /// Whether keys are dropped by an injected clock. A store that drops them by its own clock only
    /// passes the cases of expiry that take real time.
    fn drops_by_injected_clock(&self) -> bool {
        true
    }
}

/// Makes a test of every case of the [suite](mod@crate::conformance). The expression makes a new
/// [`Store`](crate::conformance::Store).
#[macro_export]
macro_rules! conformance {
    ($store:expr) => {
        $crate::conformance!(@all $store;
            keys::no_key_is_taken_for_another_algorithms
            errors::a_closed_backend_says_so
            errors::an_algorithm_that_it_does_not_have
            errors::a_log_that_is_too_long
            queue::calls_come_out_evenly_spaced
            queue::a_wait_that_is_too_long_is_denied
            queue::only_the_last_place_is_given_back
            queue::no_other_algorithm_delays
        );
        $crate::conformance!(@each $store; token_bucket TokenBucket);
        $crate::conformance!(@each $store; gcra Gcra);
        $crate::conformance!(@each $store; leaky_bucket LeakyBucket);
        $crate::conformance!(@each $store; fixed_window FixedWindow);
        $crate::conformance!(@each $store; sliding_window SlidingWindow);
        $crate::conformance!(@each $store; sliding_window_counter SlidingWindowCounter);
    };
    (@each $store:expr; $module:ident $algorithm:ident) => {
        mod $module {
            use super::*;
            $crate::conformance!(@of $store; $algorithm;
                worked::examples
                history::random
                promises::retrying_in_time
                promises::several_rates_are_all_or_nothing
                promises::denials_do_not_delay_recovery
                promises::a_reset_is_a_fresh_key
                promises::what_is_given_back_can_be_spent
                keys::no_key_is_taken_for_another
                keys::long_keys_that_differ_in_a_byte
                expiry::nothing_is_left_behind
                expiry::what_is_live_is_kept
                expiry::in_real_time
                concurrency::exactly_the_limit
                concurrency::exactly_the_limit_of_several_rates
                concurrency::joined_checks_lose_nothing
                concurrency::what_is_given_back_is_admitted_again
                errors::a_cost_that_can_never_fit
                real_time::bounds
                real_time::retrying
            );
        }
    };
    (@of $store:expr; $algorithm:ident; $($module:ident :: $case:ident)*) => {$(
        #[test]
        fn $case() {
            $crate::conformance::$module::$case(&$store, ::ratelimit_core::Algorithm::$algorithm);
        }
    )*};
    (@all $store:expr; $($module:ident :: $case:ident)*) => {$(
        #[test]
        fn $case() {
            $crate::conformance::$module::$case(&$store);
        }
    )*};
}
