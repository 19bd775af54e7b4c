//! What the options of a scanner take out of its report. The report itself does not tell, so somebody
//! declares the arguments, and what is not understood may have taken out anything.

use std::collections::BTreeSet;

use super::Severity;

/// What a report may lack, by the arguments that its scanner was run with.
///
/// Files and variables of the environment that scanners also heed (`.trivyignore`, `TRIVY_SEVERITY`)
/// do not stand in arguments: whoever declares them vouches that there were none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    hidden: BTreeSet<Severity>,
    option: Option<String>,
    secrets: Option<bool>,
}

impl Filters {
    /// By the arguments of `scanner`, as its report names it: one by one, or several in a text. With
    /// another scanner than Trivy and Grype, any argument may have taken out anything.
    #[must_use]
    pub fn of_arguments<'a>(scanner: &str, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let known = [&TRIVY, &GRYPE].into_iter().find(|known| scanner.eq_ignore_ascii_case(known.name));
        let mut words = arguments.into_iter().flat_map(str::split_ascii_whitespace).map(unquoted).peekable();
        let Some(known) = known else { return words.next().map_or_else(Self::default, Self::everything) };
        let mut filters = Self { secrets: Some(known.looks_for_secrets), ..Self::default() };
        words.next_if(|word| word.rsplit('/').next() == Some(known.name));
        let mut is_first = true;
        while let Some(word) = words.next() {
            if word.starts_with('-') {
                filters.note(known, word, || words.next());
            } else if !known.takes(word, is_first) {
                filters.hide(word, Severity::ALL);
            } else {
                is_first = false;
            }
        }
        filters
    }

    /// The same run, of which one more thing is declared: what either of the two may hide is hidden.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.secrets = if self.secrets == other.secrets { self.secrets } else { None };
        self.hidden.extend(other.hidden);
        self.option = self.option.or(other.option);
        self
    }

    /// Whether findings of `severity` may be missing.
    #[must_use]
    pub fn hides(&self, severity: Severity) -> bool {
        self.hidden.contains(&severity)
    }

    /// The first option after which findings may be missing, or the word that nobody understands.
    #[must_use]
    pub fn option(&self) -> Option<&str> {
        self.option.as_deref()
    }

    /// Whether the run looked for secrets, all of them; nothing if the arguments do not tell.
    #[must_use]
    pub const fn secrets(&self) -> Option<bool> {
        self.secrets
    }

    /// Everything may be missing, because of `word`.
    pub(super) fn everything(word: &str) -> Self {
        let mut filters = Self::default();
        filters.hide(word, Severity::ALL);
        filters
    }

    fn hide(&mut self, word: &str, severities: impl IntoIterator<Item = Severity>) {
        let before = self.hidden.len();
        self.hidden.extend(severities);
        if self.option.is_none() && self.hidden.len() > before {
            self.option = Some(word.chars().take(SHOWN).collect());
        }
        // What may hide a package may hide a secret, but a list of severities is also one of secrets.
        if self.secrets == Some(true) && self.hidden.len() > before {
            self.secrets = None;
        }
    }

    /// Takes an option and, where it has one apart, its value.
    fn note<'a>(&mut self, scanner: &Scanner, word: &'a str, next: impl FnOnce() -> Option<&'a str>) {
        let (name, inner) = match word.split_once('=') {
            Some((name, value)) => (name, Some(unquoted(value))),
            None => (word, None),
        };
        if has(scanner.switches, name) {
            // No value, and none that looks like another option's.
            if !inner.is_none_or(|value| matches!(value, "true" | "false")) {
                self.hide(name, Severity::ALL);
            }
            return;
        }
        if has(scanner.filtering_switches, name) && inner == Some("false") {
            return;
        }
        let is_list = has(scanner.lists, name);
        let value = if is_list || has(scanner.values, name) { inner.or_else(next) } else { None };
        match value {
            Some(value) if is_list => self.note_list(name, value),
            // An option in the place of a value: one of the two is something else than it seems.
            Some(value) if !value.starts_with('-') && is_plain(value) => {}
            _ => self.hide(name, Severity::ALL),
        }
    }

    /// The options of Trivy that choose from a list.
    fn note_list(&mut self, name: &str, value: &str) {
        let chosen: Vec<&str> = value.split(',').collect();
        match name {
            "--severity" | "-s" => match chosen.iter().map(|word| shown(word)).collect::<Option<Vec<_>>>() {
                Some(shown) => {
                    self.hide(name, Severity::ALL.into_iter().filter(|severity| !shown.contains(severity)));
                }
                None => self.hide(name, Severity::ALL),
            },
            "--pkg-types" | "--vuln-type" => {
                if !(chosen.contains(&"os") && chosen.contains(&"library")) {
                    self.hide(name, Severity::ALL);
                }
            }
            _ => {
                if !chosen.contains(&"vuln") {
                    self.hide(name, Severity::ALL);
                }
                if !chosen.contains(&"secret") {
                    self.secrets = Some(false);
                }
            }
        }
    }
}

/// Characters of a word that are kept to be shown.
const SHOWN: usize = 60;

/// Words with spaces between them.
type Words = &'static str;

/// Whether `word` is one of `words`.
fn has(words: Words, word: &str) -> bool {
    words.split(' ').any(|known| known == word)
}

/// What is known of the options of a scanner. What stands nowhere here may take out anything.
struct Scanner {
    name: &'static str,
    /// Whether a run without options looks for secrets.
    looks_for_secrets: bool,
    /// The commands that scan an image.
    commands: Words,
    /// The commands that do something else.
    others: Words,
    /// Without a value, and taking nothing out.
    switches: Words,
    /// Without a value, and taking something out unless they are `false`.
    filtering_switches: Words,
    /// With a value, and taking nothing out.
    values: Words,
    /// With a list that says what stays.
    lists: Words,
}

impl Scanner {
    /// Whether a word that is no option is a command that scans images, or the name of an image.
    fn takes(&self, word: &str, is_first: bool) -> bool {
        (is_first && has(self.commands, word))
            || (is_plain(word) && !word.contains('=') && !(is_first && has(self.others, word)))
    }
}

const TRIVY: Scanner = Scanner {
    name: "trivy",
    looks_for_secrets: true,
    commands: "image i",
    others: "aws client clean completion config conf convert filesystem fs help kubernetes k8s module \
        plugin registry repo repository rootfs sbom server version vex vm",
    switches: "--debug -d --quiet -q --insecure --no-progress --list-all-pkgs --dependency-tree \
        --show-suppressed --skip-db-update --skip-java-db-update --skip-check-update \
        --skip-policy-update --skip-version-check --skip-vex-repo-update --offline-scan \
        --removed-pkgs --license-full --disable-telemetry --redis-tls",
    filtering_switches: "--ignore-unfixed",
    values: "--format -f --output -o --template -t --timeout --cache-dir --cache-backend --cache-ttl \
        --db-repository --java-db-repository --checks-bundle-repository --exit-code \
        --exit-on-eol --platform --username --password --registry-token --docker-host \
        --podman-host --image-src --input --parallel --server --token --token-header \
        --detection-priority --image-config-scanners --max-image-size --redis-ca --redis-cert \
        --redis-key",
    lists: "--severity -s --scanners --security-checks --pkg-types --vuln-type",
};

const GRYPE: Scanner = Scanner {
    name: "grype",
    looks_for_secrets: false,
    commands: "",
    others: "completion config db explain help version",
    switches: "--quiet -q --verbose -v -vv --add-cpes-if-none --by-cve --show-suppressed",
    filtering_switches: "--only-fixed --only-notfixed",
    values: "--output -o --file --scope -s --platform --name --from --fail-on -f --template -t \
        --sort-by",
    lists: "",
};

/// A word of Trivy for the severities that stay.
fn shown(word: &str) -> Option<Severity> {
    Severity::ALL.into_iter().find(|severity| severity.as_str().eq_ignore_ascii_case(word))
}

/// The word without the quotes around it.
fn unquoted(word: &str) -> &str {
    let within = |quote: char| word.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(word)
}

/// Whether a shell takes the word as it stands: what it expands or splits may be an option.
fn is_plain(word: &str) -> bool {
    !word.contains(['"', '\'', '\\', '`', '$', '|', '&', ';', '<', '>', '(', ')', '{', '}', '*', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(scanner: &str, arguments: &str) -> Vec<&'static str> {
        let filters = Filters::of_arguments(scanner, [arguments]);
        assert_eq!(filters.option().is_some(), !filters.hidden.is_empty(), "{arguments}");
        Severity::ALL.into_iter().filter(|severity| filters.hides(*severity)).map(Severity::as_str).collect()
    }

    fn secrets(scanner: &str, arguments: &str) -> Option<bool> {
        Filters::of_arguments(scanner, [arguments]).secrets()
    }

    #[test]
    fn what_is_known_to_take_nothing_out_hides_nothing() {
        for arguments in [
            "",
            "image app",
            "trivy image -f json -o report.json reg.example.com/app@sha256:00",
            "/usr/bin/trivy i --format=json --quiet --timeout 10m app:1",
            "image --scanners vuln,secret --pkg-types os,library --severity UNKNOWN,LOW,medium,HIGH,CRITICAL,negligible",
            "image --ignore-unfixed=false --list-all-pkgs=true --format 'json' app",
        ] {
            assert_eq!(hidden("trivy", arguments), [""; 0], "{arguments}");
            assert_eq!(secrets("Trivy", arguments), Some(true), "{arguments}");
        }
        for arguments in [
            "",
            "grype -o json app",
            "registry:app --scope all-layers -s squashed --by-cve --only-fixed=false",
        ] {
            assert_eq!(hidden("grype", arguments), [""; 0], "{arguments}");
            assert_eq!(secrets("grype", arguments), Some(false), "{arguments}");
        }
        assert_eq!(hidden("other", " "), [""; 0]);
    }

    #[test]
    fn a_list_of_severities_hides_the_others() {
        for arguments in [
            "--severity HIGH,CRITICAL",
            "image --severity=high,critical app",
            "image -s \"HIGH,CRITICAL\" app",
            "--severity HIGH,CRITICAL,LOW --severity HIGH,CRITICAL,MEDIUM",
        ] {
            assert_eq!(hidden("trivy", arguments), ["medium", "low", "negligible", "unknown"], "{arguments}");
        }
    }

    #[test]
    fn anything_may_be_missing_after_what_takes_out_or_is_not_understood() {
        for arguments in [
            "--ignore-unfixed",
            "--ignore-unfixed=true",
            "--ignorefile x",
            "--ignorefile=x",
            "--ignore-policy p",
            "--ignore-status fixed",
            "--pkg-types os",
            "--pkg-types=library",
            "--vuln-type os",
            "--scanners secret",
            "--scanners misconfig,secret",
            "--skip-dirs /usr",
            "--skip-files a",
            "--vex x",
            "--vex=repo",
            "-c trivy.yaml",
            "--config=x",
            "--distro alpine",
            "--compliance docker-cis",
            "--pkg-relationships direct",
            "--severity HIGH,",
            "--severity HIHG",
            "--severity",
            "-sHIGH",
            "--severity --quiet",
            "--cache-dir --ignore-unfixed",
            "--unheard-of",
            "-",
            "--",
            "--quiet=maybe",
            "fs .",
            "convert report.json",
            "sbom x",
            "TRIVY_SEVERITY=HIGH trivy image app",
            "image $OPTIONS app",
            "image app | jq .",
            "image `cat options`",
            "--format \"json",
            "--output=$X",
        ] {
            assert_eq!(hidden("trivy", arguments).len(), 6, "{arguments}");
            assert_ne!(secrets("trivy", arguments), Some(true), "{arguments}");
        }
        for arguments in [
            "--only-fixed",
            "--only-notfixed",
            "--ignore-states wont-fix",
            "--exclude ./a",
            "--vex a",
            "-c x",
            "--config=x",
            "--profile p",
            "--distro a",
            "-s",
            "db update",
            "--severity HIGH",
        ] {
            assert_eq!(hidden("grype", arguments).len(), 6, "{arguments}");
        }
        assert_eq!(hidden("other", "--quiet").len(), 6);
    }

    #[test]
    fn the_first_option_that_hides_is_the_one_that_is_named() {
        let option = |arguments| Filters::of_arguments("trivy", [arguments]).option;
        assert_eq!(option("image --quiet --severity HIGH --vex x").as_deref(), Some("--severity"));
        assert_eq!(option(&"-".repeat(1000)), Some("-".repeat(SHOWN)));
    }

    #[test]
    fn secrets_are_looked_for_only_if_every_list_says_so() {
        assert_eq!(secrets("trivy", "--scanners vuln,secret"), Some(true));
        assert_eq!(secrets("trivy", "--scanners vuln"), Some(false));
        assert_eq!(secrets("trivy", "--scanners vuln --scanners vuln,secret"), Some(false));
        assert_eq!(secrets("trivy", "--scanners vuln,secret --severity CRITICAL"), None);
        assert_eq!(secrets("trivy", "--scanners vuln,secret --secret-config x"), None);
        assert_eq!(secrets("trivy", "--severity CRITICAL --scanners vuln"), Some(false));
        assert_eq!(secrets("other", ""), None);
    }
}
