//! Exact fractions.

use std::cmp::Ordering;

/// A fraction in lowest terms, its denominator above zero. What does not fit into 128 bits is refused, never rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    numerator: i128,
    denominator: i128,
}

impl Ratio {
    /// 0.
    pub const ZERO: Self = Self::whole(0);
    /// 1.
    pub const ONE: Self = Self::whole(1);

    /// A whole number.
    pub const fn whole(number: i64) -> Self {
        Self { numerator: number as i128, denominator: 1 }
    }

    fn new(numerator: i128, denominator: i128) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        let (numerator, denominator) = match denominator < 0 {
            true => (numerator.checked_neg()?, denominator.checked_neg()?),
            false => (numerator, denominator),
        };
        let divisor = i128::try_from(greatest_common_divisor(numerator.unsigned_abs(), denominator.unsigned_abs())).ok()?;
        Some(Self { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    /// Reads `12` or `0.025`, with a `-` before it or not; at most 18 digits.
    pub fn decimal(text: &str) -> Option<Self> {
        const MOST_DIGITS: usize = 18;
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let (whole, part) = digits.split_once('.').map_or((digits, None), |(whole, part)| (whole, Some(part)));
        let figures = format!("{whole}{}", part.unwrap_or_default());
        let is_complete = !whole.is_empty() && part != Some("");
        if !is_complete || figures.len() > MOST_DIGITS || !figures.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let scale = u32::try_from(part.unwrap_or_default().len()).ok()?;
        Self::new(figures.parse::<i128>().ok()? * sign, 10_i128.pow(scale))
    }

    /// How large the numbers above and below the line are, without the sign.
    pub(super) fn size(self) -> (i128, i128) {
        (self.numerator.saturating_abs(), self.denominator)
    }

    /// The sum.
    pub fn plus(self, other: Self) -> Option<Self> {
        let (left, right) = self.over_one_line(other)?;
        Self::new(left.checked_add(right)?, self.denominator.checked_mul(other.denominator)?)
    }

    /// The difference.
    pub fn minus(self, other: Self) -> Option<Self> {
        let (left, right) = self.over_one_line(other)?;
        Self::new(left.checked_sub(right)?, self.denominator.checked_mul(other.denominator)?)
    }

    /// The product.
    pub fn times(self, other: Self) -> Option<Self> {
        Self::new(self.numerator.checked_mul(other.numerator)?, self.denominator.checked_mul(other.denominator)?)
    }

    /// The quotient; `None` for a division by zero too.
    pub fn over(self, other: Self) -> Option<Self> {
        Self::new(self.numerator.checked_mul(other.denominator)?, self.denominator.checked_mul(other.numerator)?)
    }

    /// The largest whole number that is not above it.
    pub fn floor(self) -> i128 {
        self.numerator.div_euclid(self.denominator)
    }

    /// The smallest whole number that is not below it.
    pub fn ceil(self) -> i128 {
        self.floor() + i128::from(self.denominator != 1)
    }

    /// -1, 0 or 1: below zero, zero, above.
    pub fn signum(self) -> i128 {
        self.numerator.signum()
    }

    /// A whole number of any size.
    pub(super) fn integer(number: i128) -> Self {
        Self { numerator: number, denominator: 1 }
    }

    fn over_one_line(self, other: Self) -> Option<(i128, i128)> {
        Some((self.numerator.checked_mul(other.denominator)?, other.numerator.checked_mul(self.denominator)?))
    }
}

impl Ord for Ratio {
    /// By whole parts, and then by what is left of each, turned over: products of the numbers might not fit.
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut left, mut right) = (*self, *other);
        let mut turned = false;
        loop {
            let wholes = left.floor().cmp(&right.floor());
            let rests = [left, right].map(|ratio| ratio.numerator.rem_euclid(ratio.denominator));
            let ordering = match rests {
                [0, _] | [_, 0] => wholes.then(rests[0].cmp(&rests[1])),
                [_, _] => wholes,
            };
            if ordering.is_ne() || rests[0] == 0 {
                return if turned { ordering.reverse() } else { ordering };
            }
            left = Self { numerator: left.denominator, denominator: rests[0] };
            right = Self { numerator: right.denominator, denominator: rests[1] };
            turned = !turned;
        }
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.denominator {
            1 => write!(f, "{}", self.numerator),
            denominator => write!(f, "{}/{denominator}", self.numerator),
        }
    }
}

fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(text: &str) -> Ratio {
        Ratio::decimal(text).expect("a decimal number")
    }

    #[test]
    fn a_tenth_and_two_tenths_are_three_tenths() {
        assert_eq!(ratio("0.1").plus(ratio("0.2")), Some(ratio("0.3")));
        let third = Ratio::ONE.over(ratio("3")).expect("a third");
        assert_eq!(third.times(ratio("3")), Some(Ratio::ONE));
        assert_eq!((third.floor(), third.ceil(), third.to_string()), (0, 1, "1/3".to_owned()));
    }

    #[test]
    fn numbers_below_zero_are_rounded_in_the_right_direction() {
        assert_eq!((ratio("-2.5").floor(), ratio("-2.5").ceil()), (-3, -2));
        assert_eq!((ratio("-2").floor(), ratio("-2").ceil()), (-2, -2));
    }

    #[test]
    fn any_two_numbers_can_be_compared() {
        let (most, least) = (Ratio::integer(i128::MAX), Ratio::integer(i128::MIN));
        let nearly = |below: i128| Ratio::new(i128::MAX - 1 - below, i128::MAX - below).expect("a fraction");
        let rising = [
            least,
            ratio("-2.5"),
            ratio("-2.4"),
            Ratio::ZERO,
            ratio("0.3"),
            ratio("0.4"),
            nearly(1),
            nearly(0),
            Ratio::ONE,
            most,
        ];
        for (at, left) in rising.iter().enumerate() {
            for (other, right) in rising.iter().enumerate() {
                assert_eq!(left.cmp(right), at.cmp(&other), "{left} and {right}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let huge = Ratio::integer(i128::MAX);
        assert_eq!((huge.plus(Ratio::ONE), huge.times(huge)), (None, None));
        assert_eq!(Ratio::integer(i128::MIN).over(ratio("-1")), None);
        assert_eq!(Ratio::ONE.over(Ratio::ZERO), None);
    }

    #[test]
    fn only_plain_decimals_are_read() {
        for text in ["", "-", ".5", "5.", "1e3", "1_000", "+1", "--1", "1.2.3", "٣", "1234567890123456789"] {
            assert_eq!(Ratio::decimal(text), None, "{text}");
        }
        assert_eq!(Ratio::decimal("2.0"), Some(Ratio::whole(2)));
        assert_eq!(Ratio::decimal("-0.50").map(|half| half.to_string()), Some("-1/2".to_owned()));
    }
}
