//! The configuration that Fluid's charts write, as the cache's own programs read it.
//!
//! Alluxio and GooseFS take `-Dname=value` from `{WORD}_JAVA_OPTS` and `{WORD}_{ROLE}_JAVA_OPTS`, the later one winning;
//! JindoFS takes the sections of `jindofsx.cfg`. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::kube::runtime::EnvValue;

/// Properties by name, without the flavor's prefix.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// From the environment of an Alluxio or GooseFS container: `word` is `alluxio` or `goosefs`, `role` such as `master`.
    pub fn from_java(env: &[EnvValue], word: &str, role: &str) -> Self {
        let prefix = format!("-D{word}.");
        let word = word.to_uppercase();
        let role = role.to_uppercase().replace('-', "_");
        let mut all = BTreeMap::new();
        for name in [format!("{word}_JAVA_OPTS"), format!("{word}_{role}_JAVA_OPTS")] {
            let line = env.iter().rfind(|variable| variable.name == name).map_or("", |variable| &variable.value);
            let set = line.split_whitespace().filter_map(|word| word.strip_prefix(&prefix)?.split_once('='));
            all.extend(set.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        Self(all)
    }

    /// From one section of `jindofsx.cfg`.
    ///
    /// # Errors
    /// A line that is none.
    pub fn from_jindo(text: &str, section: &str) -> Result<Self, String> {
        let (mut all, mut inside) = (BTreeMap::new(), false);
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                inside = name == section;
                continue;
            }
            let Some((name, value)) = line.split_once('=') else {
                return Err(format!("jindofsx.cfg:{}: `{line}` is no `name = value`", number + 1));
            };
            if inside {
                all.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        Ok(Self(all))
    }

    /// One property.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// One property that must be there.
    ///
    /// # Errors
    /// It is not.
    pub fn need(&self, name: &str) -> Result<&str, String> {
        self.get(name).ok_or_else(|| format!("property {name} is not set"))
    }

    /// One property that must be a value of its type.
    ///
    /// # Errors
    /// It is not there, or not one.
    pub fn parse<T: FromStr>(&self, name: &str) -> Result<T, String> {
        let text = self.need(name)?;
        text.parse().map_err(|_| format!("property {name} is `{text}`"))
    }

    /// The words of a property between commas; none if it is not there.
    pub fn list(&self, name: &str) -> Vec<String> {
        let words = self.get(name).unwrap_or_default().split(',').map(str::trim);
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// A ratio such as `0.95` in thousandths.
    ///
    /// # Errors
    /// It is not there, or not between 0 and 1.
    pub fn permille(&self, name: &str) -> Result<u64, String> {
        let text = self.need(name)?;
        permille(text).ok_or_else(|| format!("property {name} is `{text}`"))
    }
}

fn permille(text: &str) -> Option<u64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = rest.chars().chain("000".chars()).take(3).collect();
    let value = whole.parse::<u64>().ok()?.checked_mul(1000)? + digits.parse::<u64>().ok()?;
    (value <= 1000).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str, value: &str) -> EnvValue {
        EnvValue { name: name.into(), value: value.into(), secret: false }
    }

    #[test]
    fn a_roles_own_options_win_and_other_options_are_left_alone() {
        let env = [
            env("ALLUXIO_JAVA_OPTS", "-Xmx1g -Dalluxio.a=1 -Dalluxio.b=x,y -Dother.c=3"),
            env("ALLUXIO_MASTER_JAVA_OPTS", "-Dalluxio.a=2"),
            env("ALLUXIO_WORKER_JAVA_OPTS", "-Dalluxio.a=9"),
        ];
        let master = Properties::from_java(&env, "alluxio", "master");
        assert_eq!(master.parse::<u32>("a"), Ok(2));
        assert_eq!(master.list("b"), ["x", "y"]);
        assert_eq!(master.get("c"), None);
        assert_eq!(master.need("c"), Err("property c is not set".into()));
        assert_eq!(master.parse::<u32>("b"), Err("property b is `x,y`".into()));
    }

    #[test]
    fn sections_of_jindos_file_are_kept_apart() {
        let text =
            "[jindofsx-namespace]\nnamespace.rpc.port = 8101\n\n# why\n[jindofsx-storage]\nstorage.rpc.port = 6101\n";
        let one = Properties::from_jindo(text, "jindofsx-storage").expect("legal");
        assert_eq!((one.get("storage.rpc.port"), one.get("namespace.rpc.port")), (Some("6101"), None));
        let error = Properties::from_jindo("[a]\nb\n", "a").expect_err("no value");
        assert_eq!(error, "jindofsx.cfg:2: `b` is no `name = value`");
    }

    #[test]
    fn ratios_in_thousandths() {
        for (text, want) in
            [("0.95", Some(950)), ("1", Some(1000)), ("0", Some(0)), ("0.7", Some(700)), ("0.9999", Some(999))]
        {
            assert_eq!(permille(text), want, "{text}");
        }
        assert_eq!((permille("1.1"), permille("x"), permille("")), (None, None, None));
    }
}
