//! Each of our algorithms.

use ratelimit::Algorithm;

use super::keyed::{answer, quota};
use super::{fill, nanos_each};
use crate::contenders::Ours;
use crate::keys::{Spread, amount, sequence};
use crate::racer::{Racer, Round};
use crate::results::{Group, Lane, Results};
use crate::settings::Settings;

pub fn run(settings: &Settings, results: &mut Results) {
    for keys in [1, 100_000] {
        for allowed in [true, false] {
            let plural = if keys == 1 { "" } else { "s" };
            let case = format!("{} key{plural}, {}", amount(keys), answer(allowed));
            if !settings.wants(Group::Algorithms, &case) {
                continue;
            }
            let (length, repeats) = settings.decisions(keys);
            let used: Vec<String> = sequence(Spread::Uniform, keys, length);
            let racers = Algorithm::ALL.map(|algorithm| {
                let racer = Ours::with(algorithm, quota(keys, allowed), keys as usize);
                let racer: Box<dyn Racer<String>> = Box::new(racer);
                fill(&*racer, keys);
                racer
            });
            let lanes = Algorithm::ALL
                .iter()
                .zip(&racers)
                .map(|(algorithm, racer)| {
                    let round = Round {
                        keys: &used,
                        repeats,
                        allowed,
                    };
                    Lane::new(algorithm.name(), move || nanos_each(&**racer, round))
                });
            results.race(settings, Group::Algorithms, &case, lanes.collect());
        }
    }
}
