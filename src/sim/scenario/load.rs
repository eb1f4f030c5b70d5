//! From files to a [`Scenario`] that can be run.
//!
//! Reading is the caller's, so that tests need no disk. Mistakes of form stop at the first; mistakes of sense (a host that
//! is not there, an even number of masters) are all told at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::check::{self, Problem};
use super::diagnostic::{Diagnostic, closest};
use super::manifest::ManifestSource;
use super::runtime::RuntimeManifest;
use super::yaml::{Document, text_of};
use super::{Scenario, Spec};
use crate::kube::fluid::api::{API_VERSION, DatasetSpec, Manifest};

/// Gives the bytes of a file, or why there are none.
pub type Reader<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

/// Everything that is wrong with a scenario; at least one mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(|d| d.render(false)).collect::<Vec<_>>().join("\n\n"))]
pub struct LoadError(pub Vec<Diagnostic>);

impl From<Diagnostic> for LoadError {
    fn from(mistake: Diagnostic) -> Self {
        Self(vec![mistake])
    }
}

/// A manifest and where it was written.
pub(super) struct Found<T> {
    pub(super) document: Document,
    pub(super) object: T,
}

/// Reads the scenario at `path` and its manifests.
///
/// # Errors
/// Every mistake that was found, each with its place and what to write instead.
pub fn load(path: &str, read: Reader<'_>) -> Result<Scenario, LoadError> {
    let whole = |message: String| Diagnostic { path: path.into(), place: None, message, help: String::new() };
    let bytes = read(path).map_err(|why| whole(format!("cannot read it: {why}")))?;
    parse(path, text_of(path, bytes)?, read)
}

/// The scenario that `text` holds, as if it had been read from `path`.
///
/// # Errors
/// As [`load`].
pub fn parse(path: &str, text: String, read: Reader<'_>) -> Result<Scenario, LoadError> {
    let document = Document::whole(path, text);
    let spec: Spec = document.parse()?;
    let manifests = Manifests::read(path, &document, &spec, read)?;
    let mut problems = check::spec(path, &spec);
    let (dataset, runtime) = manifests.pair(&document)?;
    let (dataset_object, runtime_object) = (dataset.object.clone(), runtime.object.clone());
    let files = manifests.files.clone();
    let scenario = Scenario { path: path.into(), spec, dataset: dataset_object, runtime: runtime_object, files };
    problems.extend(check::names(&scenario));
    let mut mistakes = tell(&document, problems);
    mistakes.extend(tell(&dataset.document, check::dataset(&scenario)));
    mistakes.extend(tell(&runtime.document, check::runtime(&scenario)));
    if mistakes.is_empty() { Ok(scenario) } else { Err(LoadError(mistakes)) }
}

fn tell(document: &Document, problems: Vec<Problem>) -> Vec<Diagnostic> {
    let place = |problem: Problem| {
        let (line, column) = document.locate(&problem.place);
        document.mistake(line, column, problem.message, problem.help)
    };
    let mut mistakes: Vec<Diagnostic> = problems.into_iter().map(place).collect();
    mistakes.sort_by_key(|mistake| mistake.place.as_ref().map(|place| (place.line, place.column)));
    mistakes
}

type FoundDataset = Found<Manifest<DatasetSpec>>;
type FoundRuntime = Found<RuntimeManifest>;

/// What the manifests of a scenario hold.
#[derive(Default)]
struct Manifests {
    datasets: Vec<FoundDataset>,
    runtimes: Vec<FoundRuntime>,
    /// Whether a simulated Kubernetes takes them, which knows more kinds than the two.
    kubernetes: bool,
    files: BTreeMap<String, String>,
}

impl Manifests {
    fn read(path: &str, document: &Document, spec: &Spec, read: Reader<'_>) -> Result<Self, LoadError> {
        let mut all = Self { kubernetes: spec.kubernetes.is_some(), ..Self::default() };
        let extra = spec.kubernetes.iter().flat_map(|kubernetes| &kubernetes.files);
        for (i, name) in extra.enumerate() {
            let file = beside(path, name);
            let bytes = read(&file).map_err(|why| {
                let (line, column) = document.locate(&format!("kubernetes.files.{i}"));
                let help = format!("paths are relative to this file; looked for {file}");
                document.mistake(line, column, format!("cannot read this file: {why}"), help)
            })?;
            all.files.insert(name.clone(), text_of(&file, bytes)?);
        }
        for (i, source) in spec.manifests.iter().enumerate() {
            let part = match source {
                ManifestSource::File(name) => {
                    let file = beside(path, name);
                    let bytes = read(&file).map_err(|why| {
                        let (line, column) = document.locate(&format!("manifests.{i}"));
                        let help = format!("paths are relative to this file; looked for {file}");
                        document.mistake(line, column, format!("cannot read this manifest: {why}"), help)
                    })?;
                    let text = text_of(&file, bytes)?;
                    all.files.insert(name.clone(), text.clone());
                    Document::whole(&file, text)
                }
                ManifestSource::Inline(text) => inline(document, &format!("manifests.{i}.inline"), text),
            };
            for document in part.split() {
                all.add(document)?;
            }
        }
        Ok(all)
    }

    fn add(&mut self, document: Document) -> Result<(), Diagnostic> {
        const KINDS: [&str; 2] = ["Dataset", "GooseFSRuntime"];
        let head: Head = document.parse()?;
        let at = |key: &str, message: String, help: String| {
            let (line, column) = document.locate(key);
            document.mistake(line, column, message, help)
        };
        if head.api_version != API_VERSION {
            if self.kubernetes {
                return Ok(());
            }
            let message = format!("`{}` is not an API that is simulated", head.api_version);
            return Err(at("apiVersion", message, format!("write {API_VERSION}")));
        }
        match head.kind.as_str() {
            "Dataset" => {
                let object = document.parse()?;
                self.datasets.push(Found { document, object });
            }
            "GooseFSRuntime" => {
                let object = RuntimeManifest::GooseFs(document.parse()?);
                self.runtimes.push(Found { document, object });
            }
            "AlluxioRuntime" if self.kubernetes => {
                let object = RuntimeManifest::Alluxio(document.parse()?);
                self.runtimes.push(Found { document, object });
            }
            "JindoRuntime" if self.kubernetes => {
                let object = RuntimeManifest::Jindo(document.parse()?);
                self.runtimes.push(Found { document, object });
            }
            _ if self.kubernetes => {}
            other => {
                let help = match closest(other, KINDS) {
                    Some(kind) => format!("did you mean `{kind}`?"),
                    None => format!("write one of {}", KINDS.join(", ")),
                };
                return Err(at("kind", format!("`{other}` is not a kind that is simulated"), help));
            }
        }
        Ok(())
    }

    /// The one dataset and the one runtime.
    fn pair(&self, scenario: &Document) -> Result<(&FoundDataset, &FoundRuntime), Diagnostic> {
        let at = |message: String, help: &str| {
            let (line, column) = scenario.locate("manifests");
            scenario.mistake(line, column, message, help.into())
        };
        let (Some(dataset), Some(runtime)) = (self.datasets.first(), self.runtimes.first()) else {
            let lacking = if self.datasets.is_empty() { "Dataset" } else { "GooseFSRuntime" };
            return Err(at(
                format!("the manifests hold no {lacking}"),
                "add one: a cluster is formed from a Dataset and a GooseFSRuntime",
            ));
        };
        if let Some(second) = self.datasets.get(1) {
            let (line, column) = second.document.locate("metadata.name");
            return Err(second.document.mistake(line, column, "a second Dataset".into(), "keep one".into()));
        }
        if let Some(second) = self.runtimes.get(1) {
            let (line, column) = second.document.locate("metadata.name");
            return Err(second.document.mistake(line, column, "a second runtime".into(), "keep one".into()));
        }
        Ok((dataset, runtime))
    }
}

/// What tells one kind of object from another.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: String,
    kind: String,
}

/// `name` seen from the directory of `path`.
fn beside(path: &str, name: &str) -> String {
    let dir = Path::new(path).parent().unwrap_or(Path::new(""));
    let joined: PathBuf = dir.join(name);
    joined.to_string_lossy().into_owned()
}

/// A document that is a block scalar of another one.
fn inline(scenario: &Document, place: &str, text: &str) -> Document {
    let (line, _) = scenario.locate(place);
    let indent = |l: &str| l.chars().take_while(|c| *c == ' ').count();
    let first = text.lines().enumerate().find(|(_, own)| !own.trim().is_empty());
    // The scalar is said to begin at its `|` or at its first line: look for that line from there on.
    let (before, own) = first.unwrap_or((0, ""));
    let below = scenario.source.lines().enumerate().skip(line.saturating_sub(1)).take(before + 3);
    let found = below.filter(|(_, whole)| !own.is_empty() && whole.trim() == own.trim()).last();
    let (lines, columns) =
        found.map_or((line, 0), |(i, whole)| (i - before.min(i), indent(whole).saturating_sub(indent(own))));
    Document {
        path: scenario.path.clone(),
        source: scenario.source.clone(),
        text: text.into(),
        lines: scenario.lines + lines,
        columns,
    }
}
