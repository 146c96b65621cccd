package adminapi

import "gatehouse/internal/store"

// standard is the dimensions that most results have.
type standard struct {
	ProjectID *string            `json:"project_id"`
	UserID    *string            `json:"user_id"`
	APIKeyID  *string            `json:"api_key_id"`
	Model     *string            `json:"model"`
	Labels    map[string]*string `json:"labels,omitempty"` // not OpenAI's: of those that were asked for
}

func standardOf(d dimensions) standard {
	return standard{ProjectID: d.ProjectID, UserID: d.UserID, APIKeyID: d.APIKeyID, Model: d.Model, Labels: d.Labels}
}

// tokensResult counts tokens. Every token is in one number of each line:
//
//	input_tokens  = input_uncached_tokens + input_cached_tokens + input_cache_write_tokens
//	uncached      = input_text_tokens + input_audio_tokens + input_image_tokens
//	cached        = input_cached_text_tokens + input_cached_audio_tokens + input_cached_image_tokens
//	output_tokens = output_text_tokens + output_audio_tokens + output_image_tokens
type tokensResult struct {
	Object            string  `json:"object"`
	InputTokens       int64   `json:"input_tokens"`
	OutputTokens      int64   `json:"output_tokens"`
	NumModelRequests  int64   `json:"num_model_requests"`
	InputCachedTokens int64   `json:"input_cached_tokens"`
	InputCacheWrite   int64   `json:"input_cache_write_tokens"`
	InputUncached     int64   `json:"input_uncached_tokens"`
	InputText         int64   `json:"input_text_tokens"`
	OutputText        int64   `json:"output_text_tokens"`
	InputCachedText   int64   `json:"input_cached_text_tokens"`
	InputAudio        int64   `json:"input_audio_tokens"`
	InputCachedAudio  int64   `json:"input_cached_audio_tokens"`
	OutputAudio       int64   `json:"output_audio_tokens"`
	InputImage        int64   `json:"input_image_tokens"`
	InputCachedImage  int64   `json:"input_cached_image_tokens"`
	OutputImage       int64   `json:"output_image_tokens"`
	Batch             *bool   `json:"batch"`
	ServiceTier       *string `json:"service_tier"`
	APISource         *string `json:"api_source"`
	standard
}

func showTokens(kind string) func(*store.UsageResult, dimensions) any {
	return func(r *store.UsageResult, d dimensions) any {
		u, n := &r.Units, r.Units.Quantities()
		return tokensResult{Object: "organization.usage." + kind + ".result", InputTokens: u.Input, OutputTokens: u.Output, NumModelRequests: r.Requests,
			InputCachedTokens: n[1] + n[4] + n[6], InputCacheWrite: n[2], InputUncached: n[0] + n[3] + n[5], InputText: n[0], OutputText: n[7], InputCachedText: n[1],
			InputAudio: n[3], InputCachedAudio: n[4], OutputAudio: n[8], InputImage: n[5], InputCachedImage: n[6], OutputImage: n[9],
			Batch: d.Batch, ServiceTier: d.Tier, standard: standardOf(d)}
	}
}

type inputResult struct {
	Object           string `json:"object"`
	InputTokens      int64  `json:"input_tokens"`
	NumModelRequests int64  `json:"num_model_requests"`
	standard
}

func showInput(kind string) func(*store.UsageResult, dimensions) any {
	return func(r *store.UsageResult, d dimensions) any {
		return inputResult{"organization.usage." + kind + ".result", r.Units.Input, r.Requests, standardOf(d)}
	}
}

type imagesResult struct {
	Object           string  `json:"object"`
	Images           int64   `json:"images"`
	NumModelRequests int64   `json:"num_model_requests"`
	Size             *string `json:"size"`
	Source           *string `json:"source"`
	standard
}

func showImages(r *store.UsageResult, d dimensions) any {
	return imagesResult{"organization.usage.images.result", r.Units.Images, r.Requests, d.Size, d.Source, standardOf(d)}
}

type speechesResult struct {
	Object           string `json:"object"`
	Characters       int64  `json:"characters"`
	NumModelRequests int64  `json:"num_model_requests"`
	standard
}

func showSpeeches(r *store.UsageResult, d dimensions) any {
	return speechesResult{"organization.usage.audio_speeches.result", r.Units.Characters, r.Requests, standardOf(d)}
}

type transcriptionsResult struct {
	Object           string `json:"object"`
	Seconds          int64  `json:"seconds"`
	NumModelRequests int64  `json:"num_model_requests"`
	standard
}

// showTranscriptions shows whole seconds, rounded up once for the result.
func showTranscriptions(r *store.UsageResult, d dimensions) any {
	return transcriptionsResult{"organization.usage.audio_transcriptions.result", (r.Units.Milliseconds + 999) / 1000, r.Requests, standardOf(d)}
}

type sessionsResult struct {
	Object      string             `json:"object"`
	NumSessions int64              `json:"num_sessions"`
	ProjectID   *string            `json:"project_id"`
	Labels      map[string]*string `json:"labels,omitempty"`
}

func showSessions(r *store.UsageResult, d dimensions) any {
	return sessionsResult{"organization.usage.code_interpreter_sessions.result", r.Units.Containers, d.ProjectID, d.Labels}
}

type fileSearchesResult struct {
	Object        string             `json:"object"`
	NumRequests   int64              `json:"num_requests"`
	ProjectID     *string            `json:"project_id"`
	UserID        *string            `json:"user_id"`
	APIKeyID      *string            `json:"api_key_id"`
	VectorStoreID *string            `json:"vector_store_id"`
	Labels        map[string]*string `json:"labels,omitempty"`
}

func showFileSearches(r *store.UsageResult, d dimensions) any {
	return fileSearchesResult{"organization.usage.file_searches.result", r.Units.FileSearches, d.ProjectID, d.UserID, d.APIKeyID, nil, d.Labels}
}

type webSearchesResult struct {
	Object           string  `json:"object"`
	NumModelRequests int64   `json:"num_model_requests"`
	NumRequests      int64   `json:"num_requests"`
	ContextLevel     *string `json:"context_level"`
	APISource        *string `json:"api_source"`
	standard
}

func showWebSearches(r *store.UsageResult, d dimensions) any {
	return webSearchesResult{"organization.usage.web_searches.result", r.Searches, r.Units.WebSearches + r.Units.WebSearchPreviews, nil, nil, standardOf(d)}
}
