//! `kubectl get`.
//!
//! Differs: a Secret's data are never printed, in whatever form; a watch polls once a second of the world's time.

use serde_json::{Value, json};

use super::args::Get;
use super::table::Table;
use super::target::{Target, name_of, namespace_of, title};
use super::{Kubectl, KubectlError, Print, columns, jsonpath};
use crate::kube::clock;
use crate::rt::time::{Duration, sleep};

/// How an object is shown.
enum Form<'a> {
    Table { wide: bool },
    Yaml,
    Json,
    Name,
    JsonPath(&'a str),
}

fn form(output: Option<&str>) -> Result<Form<'_>, KubectlError> {
    Ok(match output {
        None => Form::Table { wide: false },
        Some("wide") => Form::Table { wide: true },
        Some("yaml") => Form::Yaml,
        Some("json") => Form::Json,
        Some("name") => Form::Name,
        Some(other) => match other.strip_prefix("jsonpath=") {
            Some(template) => Form::JsonPath(template),
            None => {
                let why = format!("unable to match a printer suitable for the output format \"{other}\"");
                return Err(KubectlError::Usage(why));
            }
        },
    })
}

/// What stands in place of a Secret's value.
const HIDDEN: &str = "<hidden>";

fn hide(object: &mut Value) {
    if object.get("kind").and_then(Value::as_str) == Some("Secret") {
        for value in
            object.get_mut("data").and_then(Value::as_object_mut).into_iter().flat_map(|data| data.values_mut())
        {
            *value = HIDDEN.into();
        }
    }
}

impl Kubectl {
    pub(super) async fn get(&self, get: &Get, namespace: &str, print: Print<'_>) -> Result<(), KubectlError> {
        let form = form(get.output.as_deref())?;
        let targets = self.targets(&get.which.words)?;
        let mut found: Vec<(Target, Vec<Value>)> = Vec::new();
        for target in targets {
            match self.fetch(&target, namespace, &get.which).await {
                Ok((mut objects, _)) => {
                    objects.iter_mut().for_each(hide);
                    found.push((target, objects));
                }
                Err(error) if get.ignore_not_found && error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        match form {
            Form::Table { wide } => {
                let several = found.len() > 1;
                for (target, objects) in &found {
                    print(&self.table(target, objects, get, wide, several).render(!get.no_headers));
                }
                if found.iter().all(|(_, objects)| objects.is_empty()) && !get.ignore_not_found {
                    let anywhere =
                        get.which.all_namespaces || found.iter().all(|(t, _)| !self.kinds.get(t.kind).namespaced);
                    let place = if anywhere { String::new() } else { format!(" in {namespace} namespace") };
                    print(&format!("No resources found{place}.\n").replace("found.", "found"));
                }
            }
            Form::Name => {
                for (target, objects) in &found {
                    objects
                        .iter()
                        .for_each(|o| print(&format!("{}\n", title(self.kinds.get(target.kind), name_of(o)))));
                }
            }
            Form::Yaml => print(&yaml(&whole(found, &get.which.words))?),
            Form::Json => print(&format!("{:#}\n", whole(found, &get.which.words))),
            Form::JsonPath(template) => {
                let text = jsonpath::render(template, &whole(found, &get.which.words));
                print(&text.map_err(|why| KubectlError::Usage(format!("error parsing jsonpath {template}, {why}")))?);
            }
        }
        if get.watch { self.watch(get, namespace, print).await } else { Ok(()) }
    }

    fn table(&self, target: &Target, objects: &[Value], get: &Get, wide: bool, several: bool) -> Table {
        let kind = self.kinds.get(target.kind);
        let with_namespace = get.which.all_namespaces && kind.namespaced;
        // Events have their name among the wide columns.
        let named = kind.kind != "Event" || several;
        let mut columns: Vec<String> = named.then(|| "NAME".to_owned()).into_iter().collect();
        if with_namespace {
            columns.insert(0, "NAMESPACE".into());
        }
        columns.extend(columns::titles(kind, wide));
        columns.extend(get.show_labels.then(|| "LABELS".into()));
        let now = clock::now();
        let row = |object: &Value| {
            let name = if several { title(kind, name_of(object)) } else { name_of(object).to_owned() };
            let mut row: Vec<String> = named.then_some(name).into_iter().collect();
            if with_namespace {
                row.insert(0, namespace_of(object).into());
            }
            row.extend(columns::cells(kind, object, wide, now));
            row.extend(get.show_labels.then(|| columns::labels(object)));
            row
        };
        Table { columns, rows: objects.iter().map(row).collect() }
    }

    /// Prints the row of every object that changed, for ever; whoever waits drops the future.
    async fn watch(&self, get: &Get, namespace: &str, print: Print<'_>) -> Result<(), KubectlError> {
        let wide = matches!(form(get.output.as_deref())?, Form::Table { wide: true });
        let targets = self.targets(&get.which.words)?;
        let mut seen: std::collections::BTreeMap<(usize, String, String), String> = std::collections::BTreeMap::new();
        let mut first = true;
        loop {
            for (index, target) in targets.iter().enumerate() {
                let (objects, _) = self.fetch(target, namespace, &get.which).await?;
                for object in &objects {
                    let version =
                        object.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
                    let key = (index, namespace_of(object).to_owned(), name_of(object).to_owned());
                    let known = seen.insert(key, version.into());
                    if !first && known.as_deref() != Some(version) {
                        print(&self.table(target, std::slice::from_ref(object), get, wide, false).render(false));
                    }
                }
            }
            first = false;
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// One object by itself if it was asked for by name, else a list.
fn whole(found: Vec<(Target, Vec<Value>)>, words: &[String]) -> Value {
    let names: usize = found.iter().map(|(target, _)| target.names.len()).sum();
    let mut objects: Vec<Value> = found.into_iter().flat_map(|(_, objects)| objects).collect();
    if names == 1 && words.len() <= 2 && objects.len() == 1 {
        return objects.pop().unwrap_or(Value::Null);
    }
    json!({"apiVersion": "v1", "items": objects, "kind": "List", "metadata": {"resourceVersion": ""}})
}

fn yaml(value: &Value) -> Result<String, KubectlError> {
    serde_saphyr::to_string(value).map_err(|error| KubectlError::Usage(error.to_string()))
}
