// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>
#include <vector>

#include "agent/journal/journal.h"
#include "tests/lib/process.h"

namespace firedrill::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class JournalTest : public testing::Test {
 protected:
  JournalTest() : path_(folder_.path() + "/journal") { Open("boot"); }
  void Open(const std::string& boot) { journal_ = *Journal::Open(path_, boot, clock_); }
  std::string Record(const std::string& kind, const std::string& device) {
    clock_.Advance(std::chrono::seconds(1));
    return *journal_->Record(kind, {{"device", device}});
  }
  std::string FileOf(const std::string& id) { return path_ + "/" + id + ".undo"; }
  std::vector<std::string> files() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      names.push_back(entry.path().extension());
    }
    return names;
  }

  test::TemporaryFolder folder_;
  FakeClock clock_;
  const std::string path_;
  std::unique_ptr<Journal> journal_;
};

TEST_F(JournalTest, AtMostOneOfManyGetsARecordOfItsOwn) {
  const auto same = [](const UndoRecord& record) { return record.kind == "clock"; };
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> got{0};
    std::atomic<int> ready{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        ++ready;
        while (ready < 4) std::this_thread::yield();
        const auto id = journal_->RecordAlone("clock", {}, same, "another one lives");
        if (id.ok()) ++got;
        EXPECT_TRUE(id.ok() || absl::IsFailedPrecondition(id.status())) << id.status();
      });
    }
    for (std::thread& thread : threads) thread.join();
    const auto records = journal_->Read()->records;
    EXPECT_LE(got, 1);
    EXPECT_EQ(records.size(), static_cast<std::size_t>(got)) << "who was refused leaves nothing";
    for (const UndoRecord& record : records) EXPECT_TRUE(journal_->Forget(record.id).ok());
  }
  EXPECT_TRUE(journal_->RecordAlone("clock", {}, same, "").ok());
  EXPECT_THAT(std::string(journal_->RecordAlone("clock", {}, same, "another").status().message()),
              HasSubstr("another"));
  EXPECT_TRUE(journal_
                  ->RecordAlone(
                      "other", {}, [](const UndoRecord&) { return false; }, "")
                  .ok());
}

TEST_F(JournalTest, KeepsARecordUntilItIsForgotten) {
  const std::string id = Record("clsact", "eth0");
  Open("boot");
  auto contents = journal_->Read();
  ASSERT_TRUE(contents.ok());
  ASSERT_EQ(contents->records.size(), 1u);
  EXPECT_EQ(contents->records[0].kind, "clsact");
  EXPECT_EQ(contents->records[0].values.at("device"), "eth0");
  EXPECT_TRUE(contents->records[0].same_boot);
  EXPECT_TRUE(journal_->Forget(id).ok());
  EXPECT_TRUE(journal_->Forget(id).ok()) << "twice is harmless";
  EXPECT_TRUE(journal_->Read()->records.empty());
}

TEST_F(JournalTest, ReplaysNewestFirstAndForgetsWhatWasUndone) {
  Record("clsact", "eth0");
  Record("clsact", "eth1");
  std::vector<std::string> undone;
  const auto undo = [&](const UndoRecord& record) {
    undone.push_back(record.values.at("device"));
    return absl::OkStatus();
  };
  EXPECT_TRUE(journal_->Replay(undo).ok());
  EXPECT_THAT(undone, ElementsAre("eth1", "eth0"));
  EXPECT_TRUE(journal_->Replay(undo).ok());
  EXPECT_EQ(undone.size(), 2u);
}

TEST_F(JournalTest, KeepsWhatCouldNotBeUndoneAndNamesIt) {
  Record("clsact", "eth0");
  const auto status =
      journal_->Replay([](const UndoRecord&) { return absl::InternalError("device is busy"); });
  EXPECT_THAT(std::string(status.message()), HasSubstr("device is busy"));
  EXPECT_EQ(journal_->Read()->records.size(), 1u);
}

TEST_F(JournalTest, TellsARebootApart) {
  Record("clsact", "eth0");
  Open("another boot");
  EXPECT_FALSE(journal_->Read()->records[0].same_boot);
}

TEST_F(JournalTest, ReplaysOnlyWhatOneProcessWrote) {
  Record("clsact", "eth0");
  int undone = 0;
  const auto undo = [&](const UndoRecord&) {
    ++undone;
    return absl::OkStatus();
  };
  EXPECT_TRUE(journal_->Replay(undo, getpid() + 1).ok());
  EXPECT_EQ(undone, 0);
  EXPECT_TRUE(journal_->Replay(undo, getpid()).ok());
  EXPECT_EQ(undone, 1);
}

TEST_F(JournalTest, SetsDamagedRecordsAsideAndSaysSo) {
  for (const char* text : {"", "{\"format\": 1, \"ki", "[]", "{\"format\": 9}",
                           "{\"format\": 1, \"kind\": 7}", "\x00\xff\x17 garbage"}) {
    const std::string id = Record("clsact", "eth0");
    folder_.Write("journal/" + id + ".undo", text);
    const auto contents = journal_->Read();
    ASSERT_TRUE(contents.ok());
    ASSERT_EQ(contents->unreadable.size(), 1u) << text;
    EXPECT_THAT(contents->unreadable[0], HasSubstr(id));
    const auto status = journal_->SetAsideUnreadable();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()), HasSubstr(id));
    EXPECT_TRUE(journal_->SetAsideUnreadable().ok()) << "the next start is not held up by it";
    EXPECT_TRUE(journal_->Read()->unreadable.empty());
  }
}

TEST_F(JournalTest, AHalfWrittenFileIsNoRecord) {
  folder_.Write("journal/1-2-3.new", "{\"form");
  EXPECT_TRUE(journal_->Read()->records.empty());
  EXPECT_TRUE(journal_->Read()->unreadable.empty());
}

TEST_F(JournalTest, AFolderThatCannotBeMadeIsAClearError) {
  folder_.Write("file", "");
  const auto journal = Journal::Open(folder_.path() + "/file/journal", "boot", clock_);
  ASSERT_FALSE(journal.ok());
  EXPECT_THAT(std::string(journal.status().message()), HasSubstr("file/journal"));
}

}  // namespace
}  // namespace firedrill::agent
