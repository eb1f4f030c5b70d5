//! `kubectl describe`: an object over many lines, and the events about it.
//!
//! Pods, nodes, claims, volumes and StatefulSets follow kubectl's `pkg/describe`; any other kind is shown as upstream
//! shows custom ones, field by field. Differs: lines of features that this cluster lacks (QoS class, projected tokens,
//! leases, PodCIDRs) are left out.

mod kinds;
mod pod;

use ::http::Method;
use serde_json::Value;

use super::args::Which;
use super::columns::{at, list, text};
use super::target::{name_of, namespace_of};
use super::{Kubectl, KubectlError, Print, event};
use crate::kube::clock;

/// A description that grows line by line.
#[derive(Debug, Default)]
pub(super) struct Page {
    lines: Vec<(usize, Vec<String>)>,
}

impl Page {
    /// `label` and its value, `level` steps to the right.
    pub fn row(&mut self, level: usize, label: &str, value: impl Into<String>) {
        self.lines.push((level, vec![label.to_owned(), value.into()]));
    }

    /// Values below each other; `<none>` for nothing.
    pub fn rows(&mut self, level: usize, label: &str, values: &[String]) {
        if values.is_empty() {
            self.row(level, label, "<none>");
        }
        for (i, value) in values.iter().enumerate() {
            self.row(level, if i == 0 { label } else { "" }, value.as_str());
        }
    }

    /// A table of its own.
    pub fn table(&mut self, level: usize, rows: &[Vec<String>]) {
        let count = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |i: usize| rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..count).map(|i| width(i).unwrap_or(0) + 2).collect();
        for row in rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            self.lines.push((level, vec![cells.collect::<String>().trim_end().to_owned()]));
        }
    }

    /// As text: values of neighbouring lines of one level stand in one column.
    pub fn render(&self) -> String {
        let mut out = String::new();
        let mut from = 0;
        while from < self.lines.len() {
            let level = self.lines[from].0;
            let same = self.lines[from..].iter().take_while(|(own, _)| *own == level).count();
            let block = &self.lines[from..from + same];
            let labels = block.iter().filter(|(_, cells)| cells.len() > 1 && !cells[1].is_empty());
            let width = labels.map(|(_, cells)| cells[0].chars().count() + 2).max().unwrap_or(0);
            for (_, cells) in block {
                let line = match &cells[..] {
                    [label, value] => format!("{label:<width$}{value}"),
                    _ => cells.concat(),
                };
                out.push_str(&"  ".repeat(level));
                out.push_str(line.trim_end());
                out.push('\n');
            }
            from += same;
        }
        out
    }
}

/// `key=value`, sorted.
pub(super) fn pairs(object: &Value, pointer: &str, between: &str) -> Vec<String> {
    let fields = at(object, pointer).and_then(Value::as_object);
    fields.into_iter().flatten().map(|(key, value)| format!("{key}{between}{}", text(Some(value)))).collect()
}

impl Kubectl {
    pub(super) async fn describe(&self, which: &Which, namespace: &str, print: Print<'_>) -> Result<(), KubectlError> {
        let mut first = true;
        for target in self.targets(&which.words)? {
            let (objects, _) = self.fetch(&target, namespace, which).await?;
            let kind = self.kinds.get(target.kind);
            for object in &objects {
                let events = self.events_about(object, &kind.kind).await?;
                let mut page = Page::default();
                match kind.kind.as_str() {
                    "Pod" => pod::pod(&mut page, object),
                    "Node" => kinds::node(&mut page, object, &self.pods_on(name_of(object)).await?),
                    "PersistentVolumeClaim" => {
                        let users = self.pods_with_claim(namespace_of(object), name_of(object)).await?;
                        kinds::claim(&mut page, object, &users);
                    }
                    "PersistentVolume" => kinds::volume(&mut page, object),
                    "StatefulSet" => kinds::stateful_set(&mut page, object),
                    "Secret" => kinds::secret(&mut page, object),
                    _ => kinds::any(&mut page, object),
                }
                event::describe(&mut page, &events, clock::now());
                print(&format!("{}{}", if first { "" } else { "\n\n" }, page.render()));
                first = false;
            }
            if objects.is_empty() {
                let place = if kind.namespaced { format!(" in {namespace} namespace") } else { String::new() };
                print(&format!("No resources found{place}.\n"));
            }
        }
        Ok(())
    }

    async fn pods_on(&self, node: &str) -> Result<Vec<Value>, KubectlError> {
        let pods = self.pods("").await?;
        let ended =
            |pod: &Value| matches!(pod.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"));
        Ok(pods
            .into_iter()
            .filter(|pod| at(pod, "/spec/nodeName").is_some_and(|on| on == node) && !ended(pod))
            .collect())
    }

    async fn pods_with_claim(&self, namespace: &str, claim: &str) -> Result<Vec<String>, KubectlError> {
        let pods = self.pods(namespace).await?;
        let uses = |pod: &&Value| {
            let volumes = list(pod, "/spec/volumes").iter();
            volumes.filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")).any(|own| own == claim)
        };
        Ok(pods.iter().filter(uses).map(|pod| name_of(pod).to_owned()).collect())
    }

    async fn pods(&self, namespace: &str) -> Result<Vec<Value>, KubectlError> {
        let mut list = self.send(Method::GET, self.kinds.get(self.kind("pods")?).path(namespace), None).await?;
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_block_stand_in_one_column() {
        let mut page = Page::default();
        page.row(0, "Name:", "x");
        page.rows(0, "Labels:", &["a=1".into(), "b=2".into()]);
        page.row(0, "Events:", "");
        page.table(1, &[vec!["Type".into(), "Age".into()], vec!["Normal".into(), "3s".into()]]);
        let text = "Name:    x\nLabels:  a=1\n         b=2\nEvents:\n  Type    Age\n  Normal  3s\n";
        assert_eq!(page.render(), text);
    }
}
