//! [`Few`]: one value for each rate of a policy, the first of them without an allocation.

use crate::limits::MAX_LIMITS;

/// Up to [`MAX_LIMITS`] values. How many there are is kept by the owner, where it costs no room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Few<T> {
    pub(crate) first: T,
    /// Those behind the first, where there are any. A box of a fixed size is one pointer.
    rest: Option<Box<[T; MAX_LIMITS - 1]>>,
}

impl<T: Copy + Default> Few<T> {
    pub(crate) const fn one(first: T) -> Self {
        Self { first, rest: None }
    }

    /// The first values, and how many they are.
    pub(crate) fn collect(values: impl IntoIterator<Item = T>) -> (Self, u8) {
        let mut values = values.into_iter();
        let Some(first) = values.next() else {
            return (Self::default(), 0);
        };
        let (mut few, mut count) = (Self::one(first), 1);
        for (value, place) in values.zip(0..MAX_LIMITS - 1) {
            few.rest.get_or_insert_default()[place] = value;
            count += 1;
        }
        (few, count)
    }

    pub(crate) fn iter(&self, count: u8) -> impl ExactSizeIterator<Item = &T> {
        let count = usize::from(count);
        (0..count).map(|place| match (place.checked_sub(1), &self.rest) {
            (Some(place), Some(rest)) => &rest[place],
            _ => &self.first,
        })
    }

    /// Changes each value.
    pub(crate) fn change(&mut self, count: u8, mut change: impl FnMut(usize, &mut T)) {
        if count > 0 {
            change(0, &mut self.first);
        }
        if let Some(rest) = &mut self.rest {
            let others = usize::from(count).saturating_sub(1);
            for (place, value) in rest.iter_mut().take(others).enumerate() {
                change(place + 1, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_collected_comes_out_in_order_up_to_the_most() {
        for count in 0..6_u32 {
            let (mut few, kept) = Few::collect(1..=count);
            assert_eq!(u32::from(kept), count.min(4));
            few.change(kept, |place, value| {
                *value += 10 * u32::try_from(place).unwrap();
            });
            let values: Vec<_> = few.iter(kept).copied().collect();
            assert_eq!(values, [1, 12, 23, 34][..usize::from(kept)]);
        }
    }
}
