package mover

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What is known to go wrong in other movers, and the test that it does not go wrong
// here. Those without a package stand in this one.
//
//	lost tails, exit 0                        TestNoTailIsLost
//	a second run merges lists                 TestASecondRunMergesNothing
//	metadata of streams and groups            TestStreamsKeepTheirMetadata, TestMatrix
//	databases of two digits, born later,
//	RENAME, MOVE, FLUSHDB                     TestWhatChangesDuringTheReadingIsRight, TestMatrixLive;
//	                                          source: TestLiveEveryWay, TestFollowIsExact
//	checksum, version 99                      TestExitCodesDoNotLie; cmd/holdfast: TestRestoreDamaged
//	function libraries in a file              TestMatrix; cmd/holdfast: TestBackupAndRestore
//	files older than version 5                TestFilesOlderThanVersion5AreRestored
//	keys of the tool in the target            TestTheTargetHoldsNothingOfOurs
//	one stream among strings                  TestOneStreamAmongStrings
//	a key that expires before it is read      TestKeysThatExpireOnTheWay
//	TTLs lost                                 TestMatrix, whose reader compares them to the millisecond
//	TTLs renewed on the way                   TestMatrixLive; cmd/holdfast: TestLive
//	differences not found by verification     TestVerifyFindsEveryPlantedDifference
//	a stream with nothing pending             the same; its key "nothing"
//	exit codes that lie                       TestExitCodesDoNotLie, TestUploadRefused, TestStorageLies, TestDiskFull
//	keys lost, cause unclear                  TestMatrix, TestMatrixOfClusters
//	half batches, connections that break      TestConnectionsCut, TestTargetKilled, TestSourceKilled
//	a target that comes back empty            TestTargetKilled; cmd/holdfast: TestLiveTargetStartedAnew
//	a target that refuses or evicts           TestATargetWithoutRoom
//	going on after a crash                    TestMovementKilled, TestBackupKilled; cmd/holdfast: TestLiveKilled
//	slots move, nodes go                      sink: TestClusterNodeRestartedAndReplaced; source: TestClusterFailover
//	PSYNC, CONFIG, BGSAVE, DEBUG withheld     TestManagedServers; cmd/holdfast: testdata/mover/backup.txtar (by ACL)
//	a user who may not see all keys           TestPartOfTheKeysIsNotTheWhole
//	notifications off, queue full             source: TestLiveRights, TestLiveSetsNotifications, TestLiveUnderLoad
//	a disconnect ends the updates in silence  source: TestLiveConnectionsBreak, TestFollowCutConnections
//	new formats, either direction             TestMatrix, TestMatrixOfFieldTTLs; rdb: TestTranscodeMatrix
//	unknown types put the parser out of step  TestAnUnknownTypeStopsWithItsNumberAndPlace; rdb: TestReaderErrors, FuzzReader
//	the end mark split, newlines after it     source: TestMarkedSplitAnywhere, TestPSyncHostileServers
//	memory by the size of a value             rdb: TestHugeValue, TestLyingLengthsCostNothing

// TestPeersFailuresHaveTests: the tests that the list names are there.
func TestPeersFailuresHaveTests(t *testing.T) {
	t.Parallel()
	list, err := os.ReadFile("peers_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	err = filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`\b(Test|Fuzz)[A-Z]\w+`).FindAllString(string(list), -1) {
		if !strings.Contains(all.String(), "func "+name+"(") {
			t.Errorf("there is no test %s", name)
		}
	}
}
