//! `keys.svg`: nanoseconds per decision over the number of keys, both axes logarithmic.

use std::fmt::Write as _;

use crate::cases::keyed::case;
use crate::keys::{Spread, amount};
use crate::results::{Group, Results};
use crate::settings::Settings;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 46.0;

/// Hues that can be told apart on white and on black, also by those who see fewer colours.
const COLOURS: [&str; 6] = [
    "#d55e00", "#e69f00", "#0072b2", "#56a0d9", "#009e73", "#b07aa1",
];

const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #333 } .grid { stroke: #8884 } \
@media (prefers-color-scheme: dark) { text { fill: #ddd } }";

/// The plot of uniformly used `String` keys that are admitted.
pub fn svg(results: &Results, settings: &Settings) -> String {
    let counts = settings.key_counts();
    let group = Group::KeyedByString;
    let lines: Vec<(&str, Vec<(f64, f64)>)> = results
        .contenders(group)
        .into_iter()
        .map(|contender| {
            let points = counts.iter().filter_map(|&keys| {
                let case = case(keys, Spread::Uniform, true);
                let outcome = results.find(group, &case, contender)?;
                Some((f64::from(keys), outcome.median()))
            });
            (contender, points.collect())
        })
        .collect();
    let numbers = || {
        lines
            .iter()
            .flat_map(|(_, points)| points)
            .map(|(_, nanos)| *nanos)
    };
    let lowest = numbers().fold(f64::INFINITY, f64::min).log10().floor();
    let highest = numbers().fold(1.0, f64::max).log10().ceil();
    let widest = f64::from(counts.last().copied().unwrap_or(10)).log10();
    let x = |keys: f64| LEFT + keys.log10() / widest * (WIDTH - LEFT - RIGHT);
    let y = |nanos: f64| {
        let share = (nanos.log10() - lowest) / (highest - lowest);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    };

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>Nanoseconds per decision over the number of keys</title>\n<style>{STYLE}</style>\n\
         <text x=\"{LEFT}\" y=\"18\">ns per decision: String keys, used uniformly, all admitted</text>\n"
    );
    let mut power = lowest;
    while power <= highest {
        let (right, line) = (WIDTH - RIGHT, y(10_f64.powf(power)));
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{line:.1}\" y2=\"{line:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            line + 4.0,
            10_f64.powf(power)
        );
        power += 1.0;
    }
    for &keys in counts {
        let line = x(f64::from(keys));
        let bottom = HEIGHT - BOTTOM;
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{line:.1}\" x2=\"{line:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text x=\"{line:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 18.0,
            amount(keys)
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">keys</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 8.0
    );
    // The names stand at the ends of their lines, where they do not cover each other.
    let mut names: Vec<_> = lines
        .iter()
        .zip(COLOURS.iter().cycle())
        .filter_map(|((name, points), colour)| Some((*name, colour, *points.last()?)))
        .collect();
    names.sort_by(|a, b| a.2.1.total_cmp(&b.2.1));
    let mut lowest_free = f64::INFINITY;
    for (name, colour, (_, nanos)) in names {
        let place = y(nanos).min(lowest_free);
        lowest_free = place - 15.0;
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" style=\"fill: {colour}\">{name}</text>",
            WIDTH - RIGHT + 10.0,
            place + 4.0
        );
    }
    for ((_, points), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let place = |&(keys, nanos): &(f64, f64)| format!("{:.1},{:.1}", x(keys), y(nanos));
        let path: Vec<String> = points.iter().map(place).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for &(keys, nanos) in points {
            let _ = writeln!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                x(keys),
                y(nanos)
            );
        }
    }
    out.push_str("</svg>\n");
    out
}
