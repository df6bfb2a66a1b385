//! The report as one page that opens anywhere: no script, no font, no address outside.

use minijinja::{Environment, context};

use crate::report::Report;
use crate::report::html::plots::figures;
use crate::report::html::rows::{audit, latencies, processes, steps};
use crate::report::html::tiles::tiles;
use crate::report::wording::{count, errors};

mod plots;
mod rows;
mod tiles;

/// The page; minijinja escapes everything in it that is not said to be safe.
const PAGE: &str = include_str!("../report.html");
/// Its style sheet.
const STYLE: &str = include_str!("../report.css");
const MEBIBYTE: f64 = 1_048_576.0;

/// The whole page.
pub(crate) fn render(report: &Report) -> Result<String, String> {
    let told = |error: minijinja::Error| format!("the page: {error:#}");
    let mut page = Environment::new();
    page.add_template("report.html", PAGE).map_err(told)?;

    let settings = serde_json::to_value(&report.settings).map_err(|error| error.to_string())?;
    let empty = serde_json::Map::new();
    let settings: Vec<(String, String)> = settings
        .as_object()
        .unwrap_or(&empty)
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.replace('_', " "), value.to_string().replace('"', "")))
        .collect();
    let step_load = report
        .ramp
        .as_ref()
        .and_then(|ramp| ramp.steps.iter().rev().find(|step| step.broke.is_empty()));
    let load = report
        .steady
        .as_ref()
        .or_else(|| step_load.map(|step| &step.load));
    let context = context! {
        report => report,
        style => STYLE,
        settings => settings,
        tiles => tiles(report, load),
        figures => figures(report, load)?,
        latencies => load.map(latencies),
        load_note => step_load.map(|step| format!("of the highest rate that held, {} a second", count(step.rate))),
        errors => load.map(|load| errors(&load.errors)),
        processes => load.map(processes),
        steps => report.ramp.as_ref().map(steps),
        audit => audit(report),
    };

    page.get_template("report.html")
        .and_then(|page| page.render(context))
        .map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::example;
    use crate::report::figures::Ramp;

    #[test]
    fn the_page_opens_without_anything_from_elsewhere() {
        let page = render(&example()).unwrap();
        for outside in [
            "src=", "href=", "url(", "@import", "<script", "<link", "<iframe",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("<svg") && page.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn what_is_no_markup_is_escaped() {
        let mut report = example();
        report.command = "<script>alert(1)</script>".to_owned();
        let page = render(&report).unwrap();
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"));
        assert!(page.contains("1 &lt; 2 &amp; so on"));
    }

    #[test]
    fn every_kind_of_run_has_its_page() {
        let mut report = example();
        for word in [
            "Distribution of latencies",
            "Failed sends per second",
            "503 unavailable",
            "nothing was lost",
        ] {
            assert!(render(&report).unwrap().contains(word), "{word}");
        }

        let load = report.steady.take().unwrap();
        let step = |rate, broke| crate::report::Step {
            rate,
            broke,
            load: load.clone(),
        };

        let steps = vec![
            step(1_000.0, vec![]),
            step(2_000.0, vec!["p99 of sends 300 ms".to_owned()]),
        ];
        report.ramp = Some(Ramp {
            steps,
            highest_rate: Some(1_000.0),
            ..Ramp::default()
        });

        let of_ramp = render(&report).unwrap();
        assert!(of_ramp.contains("Latency by rate") && of_ramp.contains("p99 of sends 300 ms"));

        report.ramp = None;
        report.idle = Some(crate::report::Idle {
            sessions: 5_000,
            kept_bytes_per_session: Some(35_840.0),
            ..Default::default()
        });

        report.verdict = crate::report::Verdict {
            passed: false,
            faults: vec!["3 lost".to_owned()],
            warnings: vec![],
        };

        let of_idle = render(&report).unwrap();
        assert!(
            of_idle.contains("Open sockets")
                && of_idle.contains("35.0")
                && of_idle.contains("3 lost")
        );
    }
}
