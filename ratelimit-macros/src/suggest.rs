//! Which known name somebody may have meant.

/// A clause with the nearest of the known names, or nothing when none is near.
pub(crate) fn did_you_mean<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let found = found.to_lowercase();
    let nearest = known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&found, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    nearest.map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"))
}

/// Names in backquotes, separated by commas.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names
        .into_iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_if_any_is_near() {
        let known = ["token_bucket", "leaky_bucket", "gcra"];
        assert_eq!(
            did_you_mean("tokenbucket", known),
            "; did you mean `token_bucket`?"
        );
        assert_eq!(did_you_mean("GCRA", known), "; did you mean `gcra`?");
        assert_eq!(did_you_mean("magic", known), "");
        assert_eq!(list(["a", "b"]), "`a`, `b`");
    }
}
