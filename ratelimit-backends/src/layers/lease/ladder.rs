//! [`rungs`]: how to ask for as much as there is.

/// Costs that together are `amount`, in an order in which a store that decides them one by one, at one
/// instant, charges as much as it has, up to all of it: each is half of what is left, rounded up.
///
/// For let a store have `r` units, and fewer than what is left to ask for. Either it charges the next
/// half; or `r` is below that half and so not above the rest, and it has enough for all of `r` there.
pub(super) fn rungs(amount: u32) -> impl Iterator<Item = u32> {
    let mut left = amount;
    core::iter::from_fn(move || {
        let rung = left.div_ceil(2);
        left -= rung;
        (rung > 0).then_some(rung)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_take_what_there_is() {
        for amount in 1..200 {
            assert_eq!(rungs(amount).sum::<u32>(), amount);
            assert_eq!(
                rungs(amount).last(),
                Some(1),
                "the last one tells what one costs"
            );
            for has in 0..amount + 5 {
                let mut left = has;
                for rung in rungs(amount) {
                    left -= if rung <= left { rung } else { 0 };
                }
                assert_eq!(has - left, has.min(amount), "{has} of {amount}");
            }
        }
        assert_eq!(rungs(0).count(), 0);
        assert_eq!(rungs(u32::MAX).count(), 32);
    }
}
