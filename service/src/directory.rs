//! Who may send from where: accounts, their agents, and the numbers of each agent.

use std::collections::HashMap;

use uuid::Uuid;

use crate::recipient::PhoneNumber;

/// The agents and numbers of every account, as configured.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    agents: HashMap<Uuid, Agent>,
}

/// A business number as Meta knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The number that customers see.
    pub number: PhoneNumber,
    /// Meta's id of it.
    pub phone_number_id: Box<str>,
    /// Meta's id of the account that it belongs to; empty where that is not configured.
    pub waba_id: Box<str>,
    /// How many messages a second Meta takes from it.
    pub per_second: u32,
}

#[derive(Clone, Debug)]
struct Agent {
    account: Box<str>,
    connections: Vec<Connection>,
}

// === impl Directory ===

impl Directory {
    /// Adds an agent; `false` where another has this id already.
    pub fn add(&mut self, account: &str, agent: Uuid, connections: Vec<Connection>) -> bool {
        if self.agents.contains_key(&agent) {
            return false;
        }
        let account = account.into();
        self.agents.insert(
            agent,
            Agent {
                account,
                connections,
            },
        );
        true
    }

    /// The numbers of an agent of this account; none where the agent is another's or
    /// nobody's, so that a caller cannot tell the two apart.
    pub fn connections(&self, account: &str, agent: Uuid) -> &[Connection] {
        self.agents
            .get(&agent)
            .filter(|agent| *agent.account == *account)
            .map_or(&[], |agent| &agent.connections)
    }

    /// Every number, once for each agent that has it.
    pub fn all(&self) -> impl Iterator<Item = &Connection> {
        self.agents.values().flat_map(|agent| &agent.connections)
    }

    /// Whether any agent has the number of this id.
    pub fn has_number(&self, phone_number_id: &str) -> bool {
        self.all()
            .any(|connection| &*connection.phone_number_id == phone_number_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_of_another_account_has_no_numbers() {
        let connection = Connection {
            number: PhoneNumber::parse("+15550001111").unwrap(),
            phone_number_id: "1".into(),
            waba_id: "".into(),
            per_second: 80,
        };
        let mut directory = Directory::default();
        assert!(directory.add("acme", Uuid::nil(), vec![connection.clone()]));
        assert!(!directory.add("other", Uuid::nil(), vec![]));
        for (account, agent, want) in [
            ("acme", Uuid::nil(), &[connection] as &[_]),
            ("other", Uuid::nil(), &[]),
            ("acme", Uuid::max(), &[]),
        ] {
            assert_eq!(
                directory.connections(account, agent),
                want,
                "{account} {agent}"
            );
        }
    }
}
