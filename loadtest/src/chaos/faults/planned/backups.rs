//! Backups while everybody works, also while an owner dies, and what is restored of them.

use std::time::Duration;

use crate::chaos::faults::{After, Broken, Field, Mend};
use crate::chaos::history::Record;
use crate::chaos::random::Random;
use crate::chaos::restored;
use crate::chaos::site::backup::{Copied, Copying};

/// What a backup promises.
const RULE: &str = "a backup is whole and can be restored, or says what it lacks";
/// A backup during which an owner dies takes about so long, in seconds: what dies is to be in the
/// middle of it.
const TAKES_SECONDS: u64 = 15;
/// For the first shard to be copied.
const BEGUN_WITHIN: Duration = Duration::from_secs(30);
/// Once something is copied, so many milliseconds pass at most before the owner dies.
const LATER_MS: u64 = 4_000;

impl Field {
    /// A backup is taken and compared, and nothing dies.
    pub(super) async fn restore_and_compare(&self) -> Result<Broken, String> {
        let mut copying = self.begin_backup(None)?;
        let said = self.compared(&mut copying, true).await?;
        Ok(Broken {
            said: said.unwrap_or_default(),
            mends: Vec::new(),
        })
    }

    /// An owner dies in the middle of a backup.
    pub(super) async fn back_up_and_kill(&self, random: &mut Random) -> Result<Broken, String> {
        let copying = self.begin_backup(Some(self.site.stored() / TAKES_SECONDS))?;
        copying.has_begun(BEGUN_WITHIN).await?;
        tokio::time::sleep(Duration::from_millis(random.below(LATER_MS))).await;

        let nodes = self.nodes(random, 1).await?;
        let had = self.had(&nodes).await;
        self.site.kill(&nodes).await;
        if !copying.is_under_way() {
            self.site.start_again(&nodes).await?;
            return Err(format!("the backup had ended when {had} was killed"));
        }
        let starts = nodes.into_iter().map(Mend::Start);
        Ok(Broken {
            said: format!("{had} is killed during a backup"),
            mends: starts
                .chain([Mend::After(After::Backup(copying))])
                .collect(),
        })
    }

    /// Waits for the end of a backup during which an owner died. Whole or not, another one follows,
    /// and succeeds; the first that is whole is compared.
    pub(super) async fn backed_up(&self, name: &str, mut first: Copying) -> Result<(), String> {
        let said = self.compared(&mut first, false).await?;
        let is_whole = said.is_some();
        let said = said.unwrap_or_else(|| "the first backup is not whole, and says so".to_owned());
        self.tell(name, &said);
        drop(first);
        if self.world.log.is_wrong() {
            return Ok(());
        }

        let mut second = self.begin_backup(None)?;
        if !is_whole {
            return self.compared(&mut second, true).await.map(drop);
        }
        let ended = second.end().await;
        self.promised(match ended {
            Ok(Copied::Whole) => self.site.verify(second.folder()).await,
            Ok(Copied::Lacks(why)) | Err(why) => Err(why),
        });
        Ok(())
    }

    /// Notes what is known by now, and begins a backup of all.
    fn begin_backup(&self, rate: Option<u64>) -> Result<Copying, String> {
        let log = &self.world.log;
        log.note(&Record::Backup { at: log.now() });
        self.site.copy(&self.site.backups(), rate)
    }

    /// Waits for a backup, has it verified, restored and compared; what it said. Nothing when it
    /// says what it lacks, if it may lack something.
    async fn compared(
        &self,
        copying: &mut Copying,
        must_be_whole: bool,
    ) -> Result<Option<String>, String> {
        match copying.end().await {
            Ok(Copied::Whole) => {}
            Ok(Copied::Lacks(_)) if !must_be_whole => return Ok(None),
            Ok(Copied::Lacks(said)) | Err(said) => {
                self.promised(Err(said));
                return Ok(None);
            }
        }

        let backup = copying.folder();
        let verified = self.site.verify(backup).await;
        let compared = match verified {
            Ok(()) => restored::compare(&self.site, &self.world, backup).await,
            Err(error) => Err(error),
        };
        let said = compared.as_ref().ok().cloned();
        self.promised(compared.map(drop));
        Ok(said)
    }

    /// What a backup promised and did not keep is wrong.
    fn promised(&self, kept: Result<(), String>) {
        if let Err(error) = kept {
            self.world.log.wrong(RULE, None, error);
        }
    }
}
