use jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// The item in the table: what its conditions let through.
#[derive(Debug, Default)]
struct Table {
    full_at_ns: Option<i64>,
    writes: u32,
}

impl Table {
    fn write(&mut self, take: Take) -> Result<i64, Option<i64>> {
        self.writes += 1;
        let full_at_ns = match (take, self.full_at_ns) {
            (Take::Begin { full_at_ns, .. }, None) => full_at_ns,
            (Take::Begin { full_at_ns, now_ns, furthest_ns }, Some(own)) if !(now_ns..=furthest_ns).contains(&own) => full_at_ns,
            (Take::Further { by_ns, at_least_ns, at_most_ns }, Some(own)) if (at_least_ns..=at_most_ns).contains(&own) => {
                own + by_ns
            }
            (Take::Begin { .. } | Take::Further { .. }, own) => return Err(own),
        };
        self.full_at_ns = Some(full_at_ns);
        Ok(full_at_ns)
    }
}

fn verdict(share: &mut Share, table: &mut Table, rate: Rate, now: Timestamp) -> Verdict {
    for _ in 0..4 {
        match share.step(rate, now) {
            Step::Answer(verdict) => return verdict,
            Step::Ask(ask) => match table.write(ask.take) {
                Ok(full_at_ns) => share.grant(&ask, full_at_ns),
                Err(full_at_ns) => share.deny(full_at_ns),
            },
        }
    }
    panic!("it asks again and again: {share:?} {table:?}");
}

fn passes(share: &mut Share, table: &mut Table, rate: Rate, now: Timestamp) -> bool {
    matches!(verdict(share, table, rate, now), Verdict::Pass(_))
}

fn start() -> Timestamp {
    Timestamp::from_second(1_795_000_000).expect("a time")
}

fn after_ms(ms: i64) -> Timestamp {
    start() + SignedDuration::from_millis(ms)
}

fn rate(per_second: u32) -> Rate {
    Rate::new(per_second).expect("a limit")
}

#[test]
fn a_second_s_worth_passes_at_once_and_then_as_many_in_each_second() {
    for per_second in [1, 3, 7, 10, 100, 300, 999, 12_345] {
        let (rate, mut share, mut table) = (rate(per_second), Share::default(), Table::default());
        for second in 0..3 {
            let now = after_ms(second * 1_001);
            let passed = (0..per_second + 5).filter(|_| passes(&mut share, &mut table, rate, now)).count();
            assert_eq!(passed, usize::try_from(per_second).expect("few"), "of {per_second}, in second {second}");
        }
    }
}

#[test]
fn a_refusal_says_when_and_costs_nothing() {
    let (rate, mut share, mut table) = (rate(2), Share::default(), Table::default());
    let pass = |remaining| Verdict::Pass(Standing { remaining, reset_s: 1 });
    assert_eq!(verdict(&mut share, &mut table, rate, start()), pass(1));
    assert_eq!(verdict(&mut share, &mut table, rate, start()), pass(0));
    let writes = table.writes;
    for _ in 0..100 {
        let refused = verdict(&mut share, &mut table, rate, after_ms(499));
        assert_eq!(refused, Verdict::Refuse(Standing { remaining: 0, reset_s: 1 }));
    }
    assert_eq!(table.writes, writes);
    assert_eq!(verdict(&mut share, &mut table, rate, after_ms(500)), pass(0));
}

#[test]
fn leases_grow_while_they_are_used_up() {
    let (rate, mut share, mut table) = (rate(100), Share::default(), Table::default());
    assert!((0..100).all(|_| passes(&mut share, &mut table, rate, start())));
    // 1, 2, 4, 8 and then tens.
    assert_eq!(table.writes, 13);
    // Four of this lease are lost: the next one is smaller.
    assert!(passes(&mut share, &mut table, rate, after_ms(2_000)));
    assert!(passes(&mut share, &mut table, rate, after_ms(4_000)));
    let held = share.left;
    assert!(passes(&mut share, &mut table, rate, after_ms(6_000)));
    assert_eq!((held, share.left), (0, 0));
}

#[test]
fn a_clock_gone_wrong_shuts_nobody_out() {
    let (rate, mut share, mut table) = (rate(1), Share::default(), Table::default());
    assert!(passes(&mut share, &mut table, rate, after_ms(86_400_000)));
    assert!(passes(&mut share, &mut table, rate, start()));
    assert!(!passes(&mut share, &mut table, rate, start()));
    assert!(!passes(&mut Share::default(), &mut table, rate, start()));
}

#[test]
fn without_an_answer_everything_passes_for_a_second() {
    let (rate, mut share, mut table) = (rate(1), Share::default(), Table::default());
    share.open(start());
    assert!((0..9).all(|_| verdict(&mut share, &mut table, rate, after_ms(999)) == Verdict::Unknown));
    assert_eq!(table.writes, 0);
    assert!(passes(&mut share, &mut table, rate, after_ms(1_000)));
    assert!(!passes(&mut share, &mut table, rate, after_ms(1_000)));
}

proptest! {
    #[test]
    fn in_no_window_do_more_pass_than_are_promised(
        per_second in 1_u32..400,
        requests in vec((0_usize..4, prop_oneof![4 => Just(0_i64), 4 => 0_i64..20, 1 => 0_i64..1_500]), 1..600),
    ) {
        let (rate, mut table, mut shares) = (rate(per_second), Table::default(), vec![Share::default(); 4]);
        let (mut at_ms, mut passed_ms) = (0, Vec::new());
        for (process, pause_ms) in requests {
            at_ms += pause_ms;
            if passes(&mut shares[process], &mut table, rate, after_ms(at_ms)) {
                passed_ms.push(at_ms);
            }
        }
        let per_second = i64::from(per_second);
        for (first, from_ms) in passed_ms.iter().enumerate() {
            for (count, to_ms) in (1..).zip(&passed_ms[first..]) {
                prop_assert!(count * 1_000 <= 2 * per_second * 1_000 + per_second * (to_ms - from_ms), "{count} in {from_ms}..{to_ms} ms");
            }
        }
    }

    #[test]
    fn who_always_asks_gets_the_rate_for_few_writes(per_second in 1_u32..2_000, processes in 1_usize..4) {
        let (rate, mut table, mut shares) = (rate(per_second), Table::default(), vec![Share::default(); processes]);
        let mut passed = 0_u32;
        for ms in 0..2_000 {
            for share in &mut shares {
                for _ in 0..3 {
                    passed += u32::from(passes(share, &mut table, rate, after_ms(ms)));
                }
            }
        }
        let least = per_second * 2;
        let lost = rate.largest_lease() * u32::try_from(processes).expect("few");
        prop_assert!(passed + lost >= least, "{passed} of {least}");
        let busy = u32::try_from(processes).expect("few") * 3 * 10 * 3;
        prop_assert!(table.writes <= busy, "{} writes", table.writes);
    }

    #[test]
    fn at_least_half_of_what_is_taken_is_used(pauses in vec(prop_oneof![0_i64..50, 0_i64..3_000], 1..200)) {
        let (rate, mut table, mut share) = (rate(1_000), Table::default(), Share::default());
        let (mut at_ms, mut used, mut taken) = (0, 0, 0);
        for pause_ms in pauses {
            at_ms += pause_ms;
            let writes = table.writes;
            prop_assert!(passes(&mut share, &mut table, rate, after_ms(at_ms)));
            used += 1;
            taken += if table.writes > writes { share.leased } else { 0 };
        }
        prop_assert!(taken <= 2 * used, "{taken} were taken, {used} used");
    }
}
